find_package(CLI11 REQUIRED)
target_link_libraries(${FOLDER_TARGET} PRIVATE CLI11::CLI11)
