/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table.c: aligned columns.  A column is as wide as its widest cell; an empty
 * cell is shown as "-", so that lines can be cut into words.
 */
#include "config.h"

#include "ctl/table.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct column {
    const char *name;
    size_t name_len, width;
    bool right;
};

void
table_row(struct table *t)
{
    void *row = realloc(t->row, (t->rows + 1) * sizeof(t->row[0]));

    if (!row)
        abort(); /* a program of one command: there is nothing to save */
    t->row = row;
    memset(t->row[t->rows++], 0, sizeof(t->row[0]));
    t->columns = 0;
}

void
table_cell(struct table *t, const char *fmt, ...)
{
    char *text;
    va_list ap;

    if (t->columns == TABLE_COLUMNS)
        return;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        abort(); /* as above */
    va_end(ap);
    t->row[t->rows - 1][t->columns++] = text;
}

/* The columns' names and sides; their number. */
static unsigned
head_parse(const struct table *t, struct column *c)
{
    const char *p = t->head;
    unsigned i, n = 0;

    memset(c, 0, TABLE_COLUMNS * sizeof(*c));
    if (!p) {
        for (i = 0; t->align && t->align[i] && i < TABLE_COLUMNS; i++)
            c[i].right = t->align[i] == '>';
        return i;
    }
    while (n < TABLE_COLUMNS && *p) {
        c[n].right = *p == '>';
        p += c[n].right;
        c[n].name = p;
        c[n].name_len = strcspn(p, "|");
        c[n].width = c[n].name_len;
        p += c[n++].name_len;
        p += *p == '|';
    }
    return n;
}

static const char *
cell(const struct table *t, unsigned row, unsigned column)
{
    const char *text = t->row[row][column];

    return text && *text ? text : "-";
}

static void
cell_print(const struct column *c, const char *text, size_t len, bool last,
           FILE *f)
{
    int pad = (int)(c->width - len);

    if (c->right)
        fprintf(f, "%*s", pad, "");
    fprintf(f, "%.*s", (int)len, text);
    if (!last)
        fprintf(f, "%*s", (c->right ? 0 : pad) + 2, "");
}

void
table_print(const struct table *t, FILE *f)
{
    struct column c[TABLE_COLUMNS];
    unsigned n = head_parse(t, c), i, r;

    for (r = 0; r < t->rows; r++) {
        for (i = 0; i < n; i++) {
            size_t len = strlen(cell(t, r, i));

            c[i].width = len > c[i].width ? len : c[i].width;
        }
    }
    if (t->head) {
        fprintf(f, "%*s", (int)t->indent, "");
        for (i = 0; i < n; i++)
            cell_print(&c[i], c[i].name, c[i].name_len, i + 1 == n, f);
        fputc('\n', f);
    }
    for (r = 0; r < t->rows; r++) {
        fprintf(f, "%*s", (int)t->indent, "");
        for (i = 0; i < n; i++) {
            const char *text = cell(t, r, i);

            cell_print(&c[i], text, strlen(text), i + 1 == n, f);
        }
        fputc('\n', f);
    }
}

void
table_free(struct table *t)
{
    unsigned r, i;

    for (r = 0; r < t->rows; r++) {
        for (i = 0; i < TABLE_COLUMNS; i++)
            free(t->row[r][i]);
    }
    free(t->row);
    t->row = NULL;
    t->rows = 0;
}
