# Boost.Asio and Beast are compiled once, in asio_impl.cc and beast_impl.cc.
find_package(Boost 1.81 REQUIRED)
# TLS (tls.cc)
find_package(OpenSSL 3 REQUIRED)
# and what sends traces (trace_exporter.cc)
find_package(CURL REQUIRED)
target_link_libraries(${FOLDER_TARGET} PRIVATE OpenSSL::SSL CURL::libcurl)
find_package(prometheus-cpp CONFIG REQUIRED COMPONENTS core)
target_link_libraries(${FOLDER_TARGET} ${FOLDER_KIND} Boost::headers prometheus-cpp::core)
# Not by pkg-config: the flags of what libzmq itself uses come in another order from CMake's cache, and everything here
# would be compiled again behind the second configuration.
find_library(ZMQ_LIBRARY zmq REQUIRED)
if(FOLDER_KIND STREQUAL "PUBLIC")
  target_link_libraries(${FOLDER_TARGET} PUBLIC ${ZMQ_LIBRARY})  # PUBLIC: the test has a subscriber
endif()
target_compile_definitions(${FOLDER_TARGET} ${FOLDER_KIND}
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED)
# g++ 12 sees through the frame allocation of asio coroutines and misjudges it.
target_compile_options(${FOLDER_TARGET} ${FOLDER_KIND} $<$<CXX_COMPILER_ID:GNU>:-Wno-mismatched-new-delete>)
# The web page as C++.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
file(GLOB page_sources CONFIGURE_DEPENDS ${dir}/page/*)
set(page_code ${CMAKE_CURRENT_BINARY_DIR}/page.cc)
add_custom_command(OUTPUT ${page_code}
  COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/build/page.py ${dir}/page ${page_code}
  DEPENDS ${CMAKE_SOURCE_DIR}/tools/build/page.py ${page_sources} VERBATIM)
target_sources(${FOLDER_TARGET} PRIVATE ${page_code})
