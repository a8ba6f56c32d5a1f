# What tests/bench/state runs: it starts vpn-state, plays the sidecars and the callers.
add_executable(state_bench state_bench.c)
target_link_libraries(state_bench PRIVATE vpn_common vpn_flags)
set_target_properties(state_bench PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
