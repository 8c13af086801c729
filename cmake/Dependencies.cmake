# What the core is linked with: the system's packages where they are, pinned releases where they are not.
# Defines pyferris::uv and pyferris::concurrentqueue.
include(FetchContent)
find_package(Threads REQUIRED)

# --- libuv: the shared one (Debian's libuv_a.a is not position independent).
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(libuv QUIET IMPORTED_TARGET "libuv>=1.44")
endif()
add_library(pyferris_uv INTERFACE)
add_library(pyferris::uv ALIAS pyferris_uv)
if(libuv_FOUND)
  message(STATUS "libuv ${libuv_VERSION}: the system's")
  target_link_libraries(pyferris_uv INTERFACE PkgConfig::libuv)
else()
  message(STATUS "libuv: not found, fetching 1.51.0")
  enable_language(C)
  set(LIBUV_BUILD_SHARED OFF CACHE BOOL "" FORCE)
  set(LIBUV_BUILD_TESTS OFF CACHE BOOL "" FORCE)
  set(LIBUV_BUILD_BENCH OFF CACHE BOOL "" FORCE)
  FetchContent_Declare(
    libuv
    URL https://github.com/libuv/libuv/archive/refs/tags/v1.51.0.tar.gz
    URL_HASH SHA256=27e55cf7083913bfb6826ca78cde9de7647cded648d35f24163f2d31bb9f51cd
  )
  FetchContent_MakeAvailable(libuv)
  target_link_libraries(pyferris_uv INTERFACE uv_a)
  target_include_directories(pyferris_uv SYSTEM INTERFACE "${libuv_SOURCE_DIR}/include")
endif()

# --- concurrentqueue: headers only, always included as <concurrentqueue/concurrentqueue.h>.
find_path(CONCURRENTQUEUE_INCLUDE_DIR concurrentqueue/concurrentqueue.h)
mark_as_advanced(CONCURRENTQUEUE_INCLUDE_DIR)
add_library(pyferris_concurrentqueue INTERFACE)
add_library(pyferris::concurrentqueue ALIAS pyferris_concurrentqueue)
if(CONCURRENTQUEUE_INCLUDE_DIR)
  message(STATUS "concurrentqueue: the system's")
  target_include_directories(pyferris_concurrentqueue SYSTEM INTERFACE "${CONCURRENTQUEUE_INCLUDE_DIR}")
else()
  message(STATUS "concurrentqueue: not found, fetching 1.0.4")
  FetchContent_Declare(
    concurrentqueue
    URL https://github.com/cameron314/concurrentqueue/archive/refs/tags/v1.0.4.tar.gz
    URL_HASH SHA256=87fbc9884d60d0d4bf3462c18f4c0ee0a9311d0519341cac7cbd361c885e5281
    SOURCE_DIR "${CMAKE_BINARY_DIR}/_deps/moodycamel/concurrentqueue"
  )
  FetchContent_MakeAvailable(concurrentqueue)
  target_include_directories(pyferris_concurrentqueue SYSTEM INTERFACE "${CMAKE_BINARY_DIR}/_deps/moodycamel")
endif()
