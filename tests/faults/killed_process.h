/* A process that is killed in the middle of what it does. */
#ifndef KG_TESTS_KILLED_PROCESS_H
#define KG_TESTS_KILLED_PROCESS_H

enum killed_when {
    KILLED_FROM_START, /* counted from where it begins */
    KILLED_FROM_WORD   /* from when it first wrote to `tell`, which it must */
};

/* Runs work(ctx, tell) in a child process and kills that so many microseconds (less than 1,000,000) later. It may end before by itself,
 * as it does when `work` returns; the test fails when it ends in another way than these: an assertion that fails, a crash, another status
 * than 0. Returns a descriptor to read what it wrote to `tell`, up to the end; the caller closes it. `tell` holds 64 KiB, and nobody reads
 * it while the process lives. No thread of the caller lives on in the child. */
int killed_process(void (*work)(void *ctx, int tell), void *ctx, enum killed_when when, unsigned microseconds);

#endif
