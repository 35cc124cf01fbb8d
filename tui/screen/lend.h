/* A program that has the terminal to itself for a while: a pager, an editor. */
#ifndef KG_TUI_LEND_H
#define KG_TUI_LEND_H

#include <stddef.h>

/* Runs `command` by /bin/sh with standard output and error on out; standard input: `input` (length bytes), or in when that is
 * NULL. Meanwhile Ctrl-C, Ctrl-\ and Ctrl-Z are the program's alone. Returns its exit status, 128 + a signal's number, or -1. */
int kg_lend(int in, int out, const char *command, const char *input, size_t length);

#endif
