/* fill: lays a host entry into the buffer that glibc's caller gave. Pure.
 * Source: glibc's NSS interface (nss.h): buffer too short is TRYAGAIN with errno ERANGE. */
#pragma once

#include <netdb.h>
#include <nss.h>
#include <stdint.h>

/* address: network byte order. */
enum nss_status fill_hostent(const char *name, uint32_t address, struct hostent *result,
                             char *buffer, size_t len, int *errnop, int *h_errnop);

struct gaih_addrtuple; /* nss.h's, of gethostbyname4_r */
enum nss_status fill_tuple(const char *name, uint32_t address, struct gaih_addrtuple **pat,
                           char *buffer, size_t len, int *errnop, int *h_errnop);
