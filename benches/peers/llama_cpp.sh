#!/bin/sh
# Bring llama.cpp from PyPI's source package of llama-cpp-python, build its diffusion example for this machine, and write
# the network of benches/networks/llada-31m.json in f32 and q8_0 for it.
#
# Run with:  benches/peers/llama_cpp.sh FOLDER
# Needs python with what llada_to_gguf.py names, cmake (PyPI has it) and a C++ compiler; about 10 minutes.
# What is there already is not made again. PYTHON and JOBS may be set.
set -eu
version=0.3.36
folder=${1:?usage: llama_cpp.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
mkdir -p "$folder"
cd "$folder"
source=llama_cpp_python-$version/vendor/llama.cpp

if [ ! -d "$source" ]; then
    "$python" -m pip download --no-deps --no-binary llama-cpp-python "llama-cpp-python==$version"
    tar xzf "llama_cpp_python-$version.tar.gz"
fi
if [ ! -x "$source/build/bin/llama-diffusion-cli" ]; then
    cmake -S "$source" -B "$source/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=ON \
        -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF
    cmake --build "$source/build" --target llama-diffusion-cli -j "${JOBS:-2}"
fi
for type in f32 q8_0; do
    if [ ! -f "llada-31m-$type.gguf" ]; then
        "$python" "$here/llada_to_gguf.py" "$source" "llada-31m-$type.gguf.part" --type "$type" --network llada-31m
        mv "llada-31m-$type.gguf.part" "llada-31m-$type.gguf"
    fi
done
