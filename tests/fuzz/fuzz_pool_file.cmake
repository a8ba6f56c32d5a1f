vpn_fuzz_target(fuzz_pool_file fuzz_pool_file.c LIBS pool)
