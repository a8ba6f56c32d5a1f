# Load and targets of tests/bench/proxy.
foreach(part load target)
  add_executable(proxy_bench_${part} proxy_${part}.c)
  target_link_libraries(proxy_bench_${part} PRIVATE vpn_common vpn_flags)
  set_target_properties(proxy_bench_${part} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
endforeach()
