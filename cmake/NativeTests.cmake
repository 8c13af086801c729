# One executable for each tests/native/test_*.cpp; each test of it is a ctest of its own, with a time limit.
find_package(GTest QUIET)
if(NOT GTest_FOUND)
  message(STATUS "GoogleTest: not found, fetching 1.15.2")
  set(INSTALL_GTEST OFF CACHE BOOL "" FORCE)
  FetchContent_Declare(
    googletest
    URL https://github.com/google/googletest/archive/refs/tags/v1.15.2.tar.gz
    URL_HASH SHA256=7b42b4d6ed48810c5362c265a17faebe90dc2373c885e5216439d37927f02926
  )
  FetchContent_MakeAvailable(googletest)
endif()
include(GoogleTest)

if(PYFERRIS_SANITIZE)
  set(_test_timeout 300)
else()
  set(_test_timeout 60)
endif()

file(GLOB test_sources CONFIGURE_DEPENDS tests/native/test_*.cpp)
foreach(source IN LISTS test_sources)
  cmake_path(GET source STEM name)
  add_executable(native_${name} ${source})
  target_include_directories(native_${name} PRIVATE native/src tests/native)
  target_link_libraries(native_${name} PRIVATE pyferris_core pyferris::uv pyferris::concurrentqueue GTest::gtest_main)
  pyferris_enable_warnings(native_${name})
  # Listed when ctest runs, not when they are linked: the build needs to run nothing that was built for a sanitizer.
  gtest_discover_tests(
    native_${name}
    DISCOVERY_MODE PRE_TEST
    DISCOVERY_TIMEOUT 60
    PROPERTIES TIMEOUT ${_test_timeout}
  )
endforeach()
