# llama.cpp's "common" library (argument parsing, downloads, chat templates) is half of the compile time, and the Python
# binding does not link it. Included through CMAKE_PROJECT_llama_cpp_INCLUDE, before llama.cpp reads its own options.
set(LLAMA_BUILD_COMMON OFF)
