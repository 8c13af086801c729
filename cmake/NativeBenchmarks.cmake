# One executable for each benchmarks/native/bench_*.cpp.
find_package(benchmark QUIET)
if(NOT benchmark_FOUND)
  message(STATUS "Google Benchmark: not found, fetching 1.9.1")
  set(BENCHMARK_ENABLE_TESTING OFF CACHE BOOL "" FORCE)
  set(BENCHMARK_ENABLE_INSTALL OFF CACHE BOOL "" FORCE)
  FetchContent_Declare(
    benchmark
    URL https://github.com/google/benchmark/archive/refs/tags/v1.9.1.tar.gz
    URL_HASH SHA256=32131c08ee31eeff2c8968d7e874f3cb648034377dfc32a4c377fa8796d84981
  )
  FetchContent_MakeAvailable(benchmark)
endif()

file(GLOB benchmark_sources CONFIGURE_DEPENDS benchmarks/native/*.cpp)
foreach(source IN LISTS benchmark_sources)
  cmake_path(GET source STEM name)
  add_executable(native_${name} ${source})
  target_link_libraries(native_${name} PRIVATE pyferris_core benchmark::benchmark_main)
  pyferris_enable_warnings(native_${name})
endforeach()
