find_package(CURL REQUIRED)
target_link_libraries(${FOLDER_TARGET} PRIVATE CURL::libcurl)
