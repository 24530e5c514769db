# The C++ core of xgrammar as one static library: no Python bindings, no warnings of ours, hidden symbols, no LTO.
# Its sources are fetched once into third_party/ (tools/setup/fetch_sources.py), by this file when they are not there.
set(XGRAMMAR_DIR ${CMAKE_SOURCE_DIR}/third_party/xgrammar)
if(NOT EXISTS ${XGRAMMAR_DIR}/.sha256)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  execute_process(COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/setup/fetch_sources.py
                  COMMAND_ERROR_IS_FATAL ANY)
endif()
file(GLOB_RECURSE XGRAMMAR_SOURCES ${XGRAMMAR_DIR}/cpp/*.cc)
list(FILTER XGRAMMAR_SOURCES EXCLUDE REGEX "/cpp/tvm_ffi/")
add_library(xgrammar STATIC ${XGRAMMAR_SOURCES})
target_include_directories(xgrammar SYSTEM PUBLIC ${XGRAMMAR_DIR}/include ${XGRAMMAR_DIR}/3rdparty/dlpack/include
                           PRIVATE ${XGRAMMAR_DIR}/3rdparty/picojson)
target_compile_definitions(xgrammar PRIVATE XGRAMMAR_ENABLE_CPPTRACE=0 XGRAMMAR_ENABLE_INTERNAL_CHECK=0)
target_compile_options(xgrammar PRIVATE -w -fstack-protector-strong -fcf-protection)
set_target_properties(xgrammar PROPERTIES CXX_STANDARD 17 CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
