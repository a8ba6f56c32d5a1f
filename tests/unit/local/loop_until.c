#include "loop_until.h"

#define LOOK_EVERY_MS 5
#define PATIENCE_MS 30000

struct wait {
    struct loop *loop;
    until_fn condition;
    bool came_about;
};

static void on_look(void *arg)
{
    struct wait *w = arg;

    if (w->condition()) {
        w->came_about = true;
        loop_stop(w->loop);
    }
}

static void on_patience(void *arg)
{
    loop_stop(arg);
}

bool loop_until(struct loop *loop, until_fn condition)
{
    struct wait w = {.loop = loop, .condition = condition};
    struct loop_timer *look = loop_timer_new(loop, on_look, &w);
    struct loop_timer *patience = loop_timer_new(loop, on_patience, loop);

    loop_timer_start(look, 0, LOOK_EVERY_MS);
    loop_timer_start(patience, PATIENCE_MS, 0);
    loop_run(loop);
    loop_timer_close(look);
    loop_timer_close(patience);
    return w.came_about;
}
