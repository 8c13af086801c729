# Warnings for our own targets only; what a dependency's headers say is not our business (they are SYSTEM includes).
# Further arguments are added as they are.
function(pyferris_enable_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow ${ARGN})
  if(PYFERRIS_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
