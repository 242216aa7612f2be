// A project for CMake: a static and a shared library, and a program that is linked with both.
export const cmakeLists = `cmake_minimum_required(VERSION 3.13)
project(several C)
add_library(parts STATIC one.c two.c three.c)
add_library(shared SHARED four.c)
add_executable(several main.c)
target_link_libraries(several parts shared)
install(TARGETS several shared DESTINATION lib)
`;
