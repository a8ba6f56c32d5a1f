vpn_fuzz_target(fuzz_http_head fuzz_http_head.c LIBS vpn_common)
