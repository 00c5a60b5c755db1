/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table.h: rows of cells, printed in aligned columns.
 */
#ifndef CTL_TABLE_H
#define CTL_TABLE_H

#include <stdio.h>

enum { TABLE_COLUMNS = 16 };

struct table {
    const char *head;  /* names of columns, parted by '|'; ">NAME": numbers,
                          to the right; NULL: no head */
    const char *align; /* without a head: one of "<>" per column */
    char *(*row)[TABLE_COLUMNS];
    unsigned rows, columns;
    unsigned indent;
};

/* The next cell of the last row; a copy of what is printed. */
void table_cell(struct table *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void table_row(struct table *);
void table_print(const struct table *, FILE *);
void table_free(struct table *);

#endif
