#include "controller/pool/nft.h"

#include "controller/pool/process.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define NFT_WHY_MAX 400
#define NFT_TIMEOUT_MS 10000
#define BURST "16 kbytes"

void nft_table_name(const char *pool, char ret[NFT_TABLE_MAX])
{
    snprintf(ret, NFT_TABLE_MAX, "openvpn-%s", pool);
    for (char *p = ret; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && *p != '-') {
            *p = '_';
        }
    }
}

/* "add" before "delete": nft knows no "delete if it exists" before 1.0.7. */
int nft_render_removal(const char *pool, struct buf *ret)
{
    char table[NFT_TABLE_MAX];

    nft_table_name(pool, table);
    return buf_printf(ret, "add table inet %s\ndelete table inet %s\n", table, table);
}

/* { "tun1", "tun2" }, or nothing at all: nft takes no empty braces. */
static int render_tuns(const struct nft_rules *rules, struct buf *ret)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < rules->count; i++) {
        r = buf_printf(ret, "%s\"tun%u\"", i > 0 ? ", " : "{ ", rules->indices[i]);
    }
    return r == 0 && rules->count > 0 ? buf_append_str(ret, " }\n") : r;
}

/* Nothing of it is carried out ("nft -c"), but the kernel says no unless all of it could be: a rule
 * goes behind a chain's last one only if that one is there, an element out of a set only if it is
 * in. "list chain" would do for one chain: of two in one script, nft 1.0.6 finds none. */
int nft_render_look(const char *pool, const struct nft_rules *rules, struct buf *ret)
{
    char table[NFT_TABLE_MAX];

    nft_table_name(pool, table);
    int r = buf_printf(ret,
                       "add rule inet %s input index %d accept\n"
                       "add rule inet %s forward index 3 accept\n",
                       table, rules->up != 0 ? 2 : 1, table);
    if (r == 0 && rules->down != 0) {
        r = buf_printf(ret, "add rule inet %s output index 0 accept\n", table);
    }
    if (r == 0 && rules->count > 0) {
        r = buf_printf(ret, "delete element inet %s tuns ", table);
    }
    return r == 0 ? render_tuns(rules, ret) : r;
}

/* What a set of limits holds for a device: its address, forgotten after a while of silence. */
static int render_limit_set(const char *name, uint64_t bits_per_s, struct buf *ret)
{
    if (bits_per_s == 0) {
        return 0;
    }
    return buf_printf(ret,
                      "    set %s {\n"
                      "        type ipv4_addr\n"
                      "        size 65536\n"
                      "        flags dynamic,timeout\n"
                      "        timeout 5m\n"
                      "    }\n",
                      name);
}

/* The kernel lets a second at full rate and the burst come at once. */
static int render_limit(const char *way, const char *side, const char *name, uint64_t bits_per_s,
                        struct buf *ret)
{
    if (bits_per_s == 0) {
        return 0;
    }
    return buf_printf(
        ret,
        "        %s @tuns update @%s { ip %s limit rate over %llu bytes/second burst " BURST
        " } drop\n",
        way, name, side, (unsigned long long)(bits_per_s / 8));
}

static int render_sets(const char *table, const struct nft_rules *rules, struct buf *ret)
{
    int r = buf_printf(ret,
                       "table inet %s {\n"
                       "    counter input_dropped { }\n"
                       "    counter forward_dropped { }\n"
                       "    set tuns {\n"
                       "        type ifname\n",
                       table);

    if (r == 0) {
        r = rules->count > 0 ? buf_append_str(ret, "        elements = ") : 0;
    }
    if (r == 0) {
        r = render_tuns(rules, ret);
    }
    if (r == 0) {
        r = buf_append_str(ret, "    }\n");
    }
    if (r == 0) {
        r = render_limit_set("up", rules->up, ret);
    }
    return r == 0 ? render_limit_set("down", rules->down, ret) : r;
}

/* Hooks run before the usual filters (priority -10): what we drop no other table can let in. */
static int render_chains(const struct nft_rules *rules, struct buf *ret)
{
    int r = buf_append_str(ret, "    chain input {\n"
                                "        type filter hook input priority -10; policy accept;\n");

    if (r == 0) {
        r = render_limit("iifname", "saddr", "up", rules->up, ret);
    }
    if (r == 0) {
        r = buf_append_str(ret, "        iifname @tuns ct state established,related accept\n"
                                "        iifname @tuns counter name input_dropped drop\n"
                                "    }\n"
                                "    chain forward {\n"
                                "        type filter hook forward priority -10; policy accept;\n"
                                "        iifname @tuns ct state established,related accept\n"
                                "        oifname @tuns ct state established,related accept\n"
                                "        iifname @tuns counter name forward_dropped drop\n"
                                "        oifname @tuns counter name forward_dropped drop\n"
                                "    }\n");
    }
    if (r < 0 || rules->down == 0) {
        return r;
    }
    r = buf_append_str(ret, "    chain output {\n"
                            "        type filter hook output priority -10; policy accept;\n");
    if (r == 0) {
        r = render_limit("oifname", "daddr", "down", rules->down, ret);
    }
    return r == 0 ? buf_append_str(ret, "    }\n") : r;
}

int nft_render(const char *pool, const struct nft_rules *rules, struct buf *ret)
{
    char table[NFT_TABLE_MAX];
    int r = nft_render_removal(pool, ret);

    nft_table_name(pool, table);
    if (r == 0) {
        r = render_sets(table, rules, ret);
    }
    if (r == 0) {
        r = render_chains(rules, ret);
    }
    return r == 0 ? buf_append_str(ret, "}\n") : r;
}

struct nft_run {
    struct process *process;
    struct loop_timer *timer; /* its deadline */
    int in, out;
    nft_done_fn on_done;
    void *arg;
};

static void run_free(struct nft_run *run)
{
    process_close(run->process);
    loop_timer_close(run->timer);
    if (run->in >= 0) {
        close(run->in);
    }
    if (run->out >= 0) {
        close(run->out);
    }
    free(run);
}

/* nft's first line of complaint. */
static void read_why(int fd, char why[NFT_WHY_MAX])
{
    ssize_t len = pread(fd, why, NFT_WHY_MAX - 1, 0);

    why[len > 0 ? len : 0] = '\0';
    why[strcspn(why, "\n")] = '\0';
}

static void on_nft_exit(void *arg, const struct process_end *end)
{
    struct nft_run *run = arg;
    nft_done_fn on_done = run->on_done;
    void *done_arg = run->arg;
    bool ok = end->known && !end->signaled && end->code == 0;
    char why[NFT_WHY_MAX] = "";

    if (!ok) {
        read_why(run->out, why);
        if (why[0] == '\0') {
            snprintf(why, sizeof(why), "nft ended with %s", process_end_text(end).text);
        }
    }
    run->process = NULL;
    run_free(run);
    on_done(done_arg, ok ? 0 : -EIO, why);
}

static void on_deadline(void *arg)
{
    struct nft_run *run = arg;

    process_signal(run->process, SIGKILL); /* on_nft_exit() follows */
}

static int put_script(struct nft_run *run, const char *script, struct err *err)
{
    size_t len = strlen(script);

    run->in = memfd_create("nft-script", MFD_CLOEXEC);
    run->out = memfd_create("nft-errors", MFD_CLOEXEC);
    if (run->in < 0 || run->out < 0 || write(run->in, script, len) != (ssize_t)len ||
        lseek(run->in, 0, SEEK_SET) != 0) {
        return err_set(err, -errno, "nft: its script");
    }
    return 0;
}

int nft_start(struct loop *loop, const char *program, const char *script, bool check,
              nft_done_fn on_done, void *arg, struct nft_run **ret, struct err *err)
{
    struct nft_run *run = xcalloc(1, sizeof(*run));
    char *argv[] = {(char[]){"nft"}, (char[]){"-f"}, (char[]){"-"}, check ? (char[]){"-c"} : NULL,
                    NULL};
    char *envp[] = {(char[]){"LC_ALL=C"}, NULL};

    *run = (struct nft_run){.in = -1, .out = -1, .on_done = on_done, .arg = arg};
    int r = put_script(run, script, err);
    if (r == 0) {
        struct process_spec spec = {.program = program,
                                    .argv = argv,
                                    .envp = envp,
                                    .stdin_fd = run->in,
                                    .output_fd = run->out};
        r = process_hold(loop, &spec, on_nft_exit, run, &run->process, err);
    }
    if (r < 0) {
        run_free(run);
        return r;
    }
    run->timer = loop_timer_new(loop, on_deadline, run);
    loop_timer_start(run->timer, NFT_TIMEOUT_MS, 0);
    process_release(run->process);
    *ret = run;
    return 0;
}

void nft_cancel(struct nft_run *run)
{
    if (run != NULL) {
        process_signal(run->process, SIGKILL); /* its transaction is whole or not at all */
        run_free(run);
    }
}
