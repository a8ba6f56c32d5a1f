#include "controller/pool/local_tls.h"

#include "controller/pool/local_machine.h"
#include "controller/pool/local_state.h"

#include <sys/stat.h>

#define TLS_FILES 4

static const char *const tls_files[TLS_FILES] = {"ca.crt", "server.crt", "server.key", "dh.pem"};

struct tls_file {
    char *path;
    const char *text; /* NULL: not to be written */
};

/* Those that are there already have no text any more. */
static void list_tls(const struct local_paths *paths, const struct env_pem *pem,
                     struct tls_file ret[TLS_FILES])
{
    const char *const texts[TLS_FILES] = {pem->ca, pem->cert, pem->key, pem->dh};

    for (size_t i = 0; i < TLS_FILES; i++) {
        char *path = xasprintf("%s/%s", paths->tls_dir, tls_files[i]);
        bool same = texts[i] != NULL && file_holds(path, texts[i]) && chmod(path, 0600) == 0;
        ret[i] = (struct tls_file){.path = path, .text = same ? NULL : texts[i]};
    }
}

static int replace_tls(const struct tls_file files[TLS_FILES], struct err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < TLS_FILES; i++) {
        r = files[i].text != NULL ? file_stage(files[i].path, files[i].text, 0600, err) : 0;
    }
    for (size_t i = 0; r == 0 && i < TLS_FILES; i++) {
        r = files[i].text != NULL ? file_commit(files[i].path, err) : 0;
    }
    for (size_t i = 0; r < 0 && i < TLS_FILES; i++) {
        file_unstage(files[i].path);
    }
    return r;
}

int local_tls_write(const struct local_paths *paths, const struct env_pem *pem, struct err *err)
{
    struct tls_file files[TLS_FILES];

    if (pem->ca == NULL) { /* the pool file names them */
        return 0;
    }
    int r = local_make_folder(paths->tls_dir, 0700, err);
    if (r < 0) {
        return r;
    }
    list_tls(paths, pem, files);
    r = replace_tls(files, err);
    for (size_t i = 0; i < TLS_FILES; i++) {
        free(files[i].path);
    }
    if (r < 0) {
        (void)rmdir(paths->tls_dir); /* where nothing was */
        return err_wrap(err, "certificates of the variables");
    }
    return 0;
}

void local_tls_remove(const struct local_paths *paths)
{
    for (size_t i = 0; i < TLS_FILES; i++) {
        AUTO(str) char *path = xasprintf("%s/%s", paths->tls_dir, tls_files[i]);
        unlink(path);
        file_unstage(path); /* of one that died while it wrote */
    }
    rmdir(paths->tls_dir);
}
