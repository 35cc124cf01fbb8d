/* Status codes and error details: how every function of kedge says that it failed.
 *
 * A function that can fail returns enum kg_status and fills a struct kg_error that the caller owns
 * (it may be NULL when only the code matters). The text names what failed, on what, and what to do;
 * it never holds control bytes, whatever the arguments hold, so it is safe to print to a terminal.
 */
#ifndef KG_BASE_STATUS_H
#define KG_BASE_STATUS_H

#include <stdarg.h>

/* name, what `kg_status_name` calls it */
#define KG_STATUS_TABLE(X)                                                                          \
    X(KG_OK, "ok")                                                                                  \
    X(KG_ERR_NOMEM, "out of memory")                                                                \
    X(KG_ERR_IO, "input or output failed")                                                          \
    X(KG_ERR_FORMAT, "malformed input")                                                             \
    X(KG_ERR_UNSUPPORTED, "not supported")                                                          \
    X(KG_ERR_NOT_FOUND, "not found")                                                                \
    X(KG_ERR_RANGE, "out of range")                                                                 \
    X(KG_ERR_FULL, "no room left")                                                                  \
    X(KG_ERR_BUSY, "in use by another process")                                                     \
    X(KG_ERR_CORRUPT, "stored bytes do not match their checksum")                                   \
    X(KG_ERR_CANCELLED, "stopped on request")                                                       \
    X(KG_ERR_CHANGED, "changed while in use")                                                       \
    X(KG_ERR_NETWORK, "network unreachable or refused")                                             \
    X(KG_ERR_USAGE, "wrong usage")

enum kg_status {
#define KG_STATUS_ENUM(name, text) name,
    KG_STATUS_TABLE(KG_STATUS_ENUM)
#undef KG_STATUS_ENUM
        KG_STATUS_COUNT
};

#define KG_ERROR_TEXT 512

struct kg_error {
    enum kg_status status;
    char text[KG_ERROR_TEXT]; /* valid UTF-8, one line, no control bytes, NUL-terminated */
};

/* The words for a status, static storage. */
const char *kg_status_name(enum kg_status status);

/* Fills *err (if not NULL) and returns status, so that a failing function ends in
 * `return kg_fail(err, KG_ERR_IO, "cannot read %s: %s; check ...", path, strerror(errno));` */
enum kg_status kg_fail(struct kg_error *err, enum kg_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

enum kg_status kg_failv(struct kg_error *err, enum kg_status status, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/* For allocations: "out of memory while WHAT". */
enum kg_status kg_fail_nomem(struct kg_error *err, const char *what);

/* Copies text to out (capacity bytes, at least 1) with every control byte (C0, DEL, C1 in UTF-8),
 * bidi control, and byte that is not valid UTF-8 written as \xNN. Truncates at a character. */
void kg_printable(char *out, unsigned long capacity, const char *text, unsigned long length);

#endif
