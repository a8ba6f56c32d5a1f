/* The entry points that glibc looks up by name in libnss_openvpn.so.2 ("hosts: files openvpn dns").
 * Loaded into other people's processes: libc only, at most 200 ms, never a crash. */
#include "nss/ask.h"
#include "nss/device.h"
#include "nss/fill.h"
#include "nss/status_file.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#define NSS_TIMEOUT_MS 200
#define NSS_DEFAULT_DIR "/run/openvpn"
#define EXPORTED __attribute__((visibility("default")))

EXPORTED enum nss_status _nss_openvpn_gethostbyname4_r(const char *name,
                                                       struct gaih_addrtuple **pat, char *buffer,
                                                       size_t len, int *errnop, int *h_errnop,
                                                       int32_t *ttlp);
EXPORTED enum nss_status _nss_openvpn_gethostbyname3_r(const char *name, int af,
                                                       struct hostent *result, char *buffer,
                                                       size_t len, int *errnop, int *h_errnop,
                                                       int32_t *ttlp, char **canonp);
EXPORTED enum nss_status _nss_openvpn_gethostbyname2_r(const char *name, int af,
                                                       struct hostent *result, char *buffer,
                                                       size_t len, int *errnop, int *h_errnop);
EXPORTED enum nss_status _nss_openvpn_gethostbyname_r(const char *name, struct hostent *result,
                                                      char *buffer, size_t len, int *errnop,
                                                      int *h_errnop);

static enum nss_status not_found(int *errnop, int *h_errnop)
{
    *errnop = ENOENT;
    *h_errnop = HOST_NOT_FOUND;
    return NSS_STATUS_NOTFOUND;
}

/* NSS_STATUS_SUCCESS with *address, or what the entry point returns. Other names are not ours and
 * cost nothing. A set-user-ID program does not listen to the variable. */
static enum nss_status look_up(const char *name, uint32_t *address, int *errnop, int *h_errnop)
{
    char uuid[UUID_TEXT_MAX + 1];
    const char *dir = secure_getenv("VPN_RUNTIME_DIR");

    if (name == NULL || !device_from_name(name, uuid)) {
        return not_found(errnop, h_errnop);
    }
    if (dir == NULL || dir[0] == '\0') {
        dir = NSS_DEFAULT_DIR;
    }
    enum ask_answer answer = ask_sidecars(dir, uuid, NSS_TIMEOUT_MS, address);
    if (answer == ASK_FOUND || (answer == ASK_UNSURE && status_files_find(dir, uuid, address))) {
        return NSS_STATUS_SUCCESS;
    }
    return not_found(errnop, h_errnop);
}

enum nss_status _nss_openvpn_gethostbyname4_r(const char *name, struct gaih_addrtuple **pat,
                                              char *buffer, size_t len, int *errnop, int *h_errnop,
                                              int32_t *ttlp)
{
    uint32_t address = 0;
    enum nss_status status = look_up(name, &address, errnop, h_errnop);

    if (status != NSS_STATUS_SUCCESS) {
        return status;
    }
    if (ttlp != NULL) {
        *ttlp = 0;
    }
    return fill_tuple(name, address, pat, buffer, len, errnop, h_errnop);
}

enum nss_status _nss_openvpn_gethostbyname3_r(const char *name, int af, struct hostent *result,
                                              char *buffer, size_t len, int *errnop, int *h_errnop,
                                              int32_t *ttlp, char **canonp)
{
    uint32_t address = 0;

    if (af != AF_INET && af != AF_UNSPEC) {
        return not_found(errnop, h_errnop);
    }
    enum nss_status status = look_up(name, &address, errnop, h_errnop);
    if (status != NSS_STATUS_SUCCESS) {
        return status;
    }
    status = fill_hostent(name, address, result, buffer, len, errnop, h_errnop);
    if (status == NSS_STATUS_SUCCESS && ttlp != NULL) {
        *ttlp = 0;
    }
    if (status == NSS_STATUS_SUCCESS && canonp != NULL) {
        *canonp = result->h_name;
    }
    return status;
}

enum nss_status _nss_openvpn_gethostbyname2_r(const char *name, int af, struct hostent *result,
                                              char *buffer, size_t len, int *errnop, int *h_errnop)
{
    return _nss_openvpn_gethostbyname3_r(name, af, result, buffer, len, errnop, h_errnop, NULL,
                                         NULL);
}

enum nss_status _nss_openvpn_gethostbyname_r(const char *name, struct hostent *result, char *buffer,
                                             size_t len, int *errnop, int *h_errnop)
{
    return _nss_openvpn_gethostbyname2_r(name, AF_INET, result, buffer, len, errnop, h_errnop);
}
