# Compiler flags. Every shipped build is hardened (docs/contracts are checked against the ELF by tools/lint).
add_library(millrace_flags INTERFACE)
target_compile_options(millrace_flags INTERFACE
  -Wall -Wextra -Wconversion -Wsign-conversion -Werror -Wno-missing-field-initializers
  -ffp-contract=off -fno-delete-null-pointer-checks -fstack-protector-strong -fcf-protection
  -fno-strict-aliasing)
target_compile_definitions(millrace_flags INTERFACE _GLIBCXX_ASSERTIONS)
target_include_directories(millrace_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR})
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # false positives of g++ 12 with coroutines and std::variant at -O2
  target_compile_options(millrace_flags INTERFACE -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds -Wno-dangling-pointer -Wno-stringop-overread)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT MILLRACE_SANITIZE)
  target_compile_options(millrace_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1 -fno-omit-frame-pointer")
set(CMAKE_EXE_LINKER_FLAGS "${CMAKE_EXE_LINKER_FLAGS} -pie -Wl,-z,relro,-z,now")
if(MILLRACE_FAULTS)
  target_compile_definitions(millrace_flags INTERFACE MILLRACE_FAULTS=1)
endif()
if(MILLRACE_SANITIZE STREQUAL "address")
  # clang 14 cannot emit -fsanitize=function for coroutines
  add_compile_options(-fsanitize=address,undefined -fno-sanitize=function -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined -fno-sanitize=function)
elseif(MILLRACE_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
endif()
if(MILLRACE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
