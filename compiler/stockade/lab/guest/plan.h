/* What the host asks of its guest: files to lay, tasks to run; netstrings, written by host/plan.py. */
#ifndef STOCKADE_LAB_PLAN_H
#define STOCKADE_LAB_PLAN_H

#include "common.h"

struct item {
    char *kind, *path, *label;
    unsigned mode;
    struct bytes data;
};

struct task {
    char *by, *context, *folder;
    long milliseconds;
    int background;
    struct bytes input;
    char **arguments, **environment;
};

struct plan {
    int enforce, containerd;
    long items, tasks;
    struct item *item;
    struct task *task;
};

struct cursor {
    char *at, *end;
};

/* The next netstring, with a zero byte in the place of its comma. */
static inline struct bytes next_bytes(struct cursor *cursor)
{
    char *colon;
    unsigned long length = strtoul(cursor->at, &colon, 10);
    if (colon == cursor->at || *colon != ':' || length >= (unsigned long)(cursor->end - colon - 1) ||
        colon[1 + length] != ',') {
        errno = EINVAL;
        fail("a plan that cannot be read");
    }
    struct bytes field = {colon + 1, length};
    field.data[length] = 0;
    cursor->at = field.data + length + 1;
    return field;
}

static inline char *next_text(struct cursor *cursor)
{
    return next_bytes(cursor).data;
}

static inline long next_number(struct cursor *cursor)
{
    return atol(next_text(cursor));
}

static inline char **next_list(struct cursor *cursor)
{
    long count = next_number(cursor);
    char **list = claim((count + 1) * sizeof *list);
    for (long number = 0; number < count; number++)
        list[number] = next_text(cursor);
    return list;
}

static inline struct plan read_plan(const char *path)
{
    struct bytes all = must_slurp(path);
    struct cursor cursor = {all.data, all.data + all.length};
    struct plan plan;
    if (strcmp(next_text(&cursor), "stockade-plan 1")) {
        errno = EINVAL;
        fail("%s is no plan", path);
    }
    plan.enforce = next_number(&cursor);
    plan.containerd = next_number(&cursor);
    plan.items = next_number(&cursor);
    plan.item = claim(plan.items * sizeof *plan.item);
    for (long number = 0; number < plan.items; number++) {
        struct item *item = &plan.item[number];
        item->kind = next_text(&cursor);
        item->path = next_text(&cursor);
        item->mode = strtoul(next_text(&cursor), NULL, 8);
        item->label = next_text(&cursor);
        item->data = next_bytes(&cursor);
    }
    plan.tasks = next_number(&cursor);
    plan.task = claim(plan.tasks * sizeof *plan.task);
    for (long number = 0; number < plan.tasks; number++) {
        struct task *task = &plan.task[number];
        task->by = next_text(&cursor);
        task->context = next_text(&cursor);
        task->milliseconds = next_number(&cursor);
        task->background = next_number(&cursor);
        task->folder = next_text(&cursor);
        task->input = next_bytes(&cursor);
        task->arguments = next_list(&cursor);
        task->environment = next_list(&cursor);
    }
    return plan;
}

#endif
