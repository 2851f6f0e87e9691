# The CUDA module, built where a CUDA compiler is found. It needs no driver to build or to load.
set(EXPANSIVE_CUDA AUTO CACHE STRING
  "Build the CUDA module: AUTO (where a CUDA compiler is found), ON (fail without one) or OFF")
set_property(CACHE EXPANSIVE_CUDA PROPERTY STRINGS AUTO ON OFF)
set(EXPANSIVE_CUDA_ARCHITECTURES 80 86 89 90a 100 120 CACHE STRING
  "Compute capabilities to compile for; those the toolkit does not know are left out")

option(EXPANSIVE_CUDA_PROBE "Build cuda_probe, the first thing to run on a new chip" OFF)

string(TOUPPER "${EXPANSIVE_CUDA}" cuda_wanted)
if(NOT cuda_wanted MATCHES "^(AUTO|ON|OFF|TRUE|FALSE|YES|NO|0|1)$")
  message(FATAL_ERROR "EXPANSIVE_CUDA is '${EXPANSIVE_CUDA}'; choose AUTO, ON or OFF")
endif()
if(cuda_wanted MATCHES "^(OFF|FALSE|NO|0)$")
  message(STATUS "CUDA module: not wanted (EXPANSIVE_CUDA=${EXPANSIVE_CUDA})")
  return()
endif()

# Fails where the module was asked for, else leaves it out.
macro(leave_out_cuda reason)
  if(NOT cuda_wanted STREQUAL "AUTO")
    message(FATAL_ERROR "EXPANSIVE_CUDA=${EXPANSIVE_CUDA}, but ${reason}")
  endif()
  message(STATUS "CUDA module: left out, ${reason}")
  return()
endmacro()

include(CheckLanguage)
set(CMAKE_CUDA_ARCHITECTURES OFF)  # given below, as far as the toolkit knows them
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  leave_out_cuda("no working CUDA compiler was found; put nvcc on PATH or set CUDACXX to it")
endif()
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
enable_language(CUDA)
find_package(CUDAToolkit QUIET)
if(NOT CUDAToolkit_FOUND)
  leave_out_cuda("the toolkit of ${CMAKE_CUDA_COMPILER} is not complete")
endif()

execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-code OUTPUT_VARIABLE known)
set(cuda_wanted_for ${EXPANSIVE_CUDA_ARCHITECTURES})
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.0)
  list(TRANSFORM cuda_wanted_for REPLACE "^90a$" 90)
elseif("90a" IN_LIST cuda_wanted_for)
  # Of 90a and 90 a chip might take the other's kernels, which fail where wgmma is launched.
  list(REMOVE_ITEM cuda_wanted_for 90)
endif()
set(cuda_codes "")
set(cuda_names "")
set(oldest "")
foreach(arch IN LISTS cuda_wanted_for)
  # 90a: 90 with its own instructions, which the toolkit knows without listing them.
  string(REGEX REPLACE "[a-z]$" "" number ${arch})
  if(known MATCHES "sm_${number}[\r\n]")
    list(APPEND cuda_codes "--generate-code=arch=compute_${arch},code=sm_${arch}")
    list(APPEND cuda_names ${arch})
    if(NOT oldest)
      set(oldest ${number})
    endif()
  endif()
endforeach()
if(NOT cuda_names)
  leave_out_cuda("the CUDA toolkit ${CMAKE_CUDA_COMPILER_VERSION} knows none of the compute \
capabilities ${EXPANSIVE_CUDA_ARCHITECTURES}; update it")
endif()
# PTX of the oldest lets all GPUs between and after these compile the kernels for themselves; they
# use nothing that is newer.
list(APPEND cuda_codes "--generate-code=arch=compute_${oldest},code=compute_${oldest}")
message(STATUS "CUDA module: ${CMAKE_CUDA_COMPILER_VERSION}, compute capabilities ${cuda_names}")

add_library(expansive_cuda STATIC
  csrc/cuda/device.cu csrc/cuda/images.cu csrc/cuda/neighbors.cu csrc/cuda/scan.cu
  csrc/cuda/screen.cu csrc/cuda/screen_wide.cu csrc/cuda/select.cu csrc/cuda/synthesis.cu)
target_include_directories(expansive_cuda PUBLIC csrc csrc/include)
target_link_libraries(expansive_cuda PUBLIC CUDA::cudart_static)
if("90a" IN_LIST cuda_names)
  target_compile_definitions(expansive_cuda PRIVATE EXPANSIVE_WGMMA)
endif()
# Contraction would change the contract's bits, as on the CPU.
target_compile_options(expansive_cuda PRIVATE ${cuda_codes} --threads=2 -O3 -fmad=false
  --expt-relaxed-constexpr -Werror=cross-execution-space-call
  "-Xcompiler=-Wall,-Wextra,-ffp-contract=off")

pybind11_add_module(_cuda NO_EXTRAS csrc/bindings/cuda.cpp)
target_link_libraries(_cuda PRIVATE expansive_cuda)
target_compile_options(_cuda PRIVATE -Wall -Wextra)
install(TARGETS _cuda LIBRARY DESTINATION expansive)

if(EXPANSIVE_CUDA_PROBE)
  add_executable(cuda_probe tests/cuda_probe.cu)
  target_link_libraries(cuda_probe PRIVATE expansive_cuda)
  target_compile_options(cuda_probe PRIVATE ${cuda_codes} --expt-relaxed-constexpr)
endif()
