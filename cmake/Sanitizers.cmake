# PYFERRIS_SANITIZE applies to everything that is compiled here, tests and core alike: a sanitizer that sees only half
# of a program reports what is not there.
if(PYFERRIS_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=address,undefined)
elseif(PYFERRIS_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=thread)
  # concurrentqueue has fences, which TSan does not follow and GCC warns of. Where one consumer drains the queue, the
  # loads around them carry the order as well.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wno-tsan)
  endif()
elseif(PYFERRIS_SANITIZE)
  message(FATAL_ERROR "PYFERRIS_SANITIZE is \"${PYFERRIS_SANITIZE}\"; it can be address, thread or empty")
endif()
if(PYFERRIS_SANITIZE AND PYFERRIS_BUILD_PYTHON)
  message(FATAL_ERROR "PYFERRIS_SANITIZE is for the core and its tests: set PYFERRIS_BUILD_PYTHON=OFF")
endif()
