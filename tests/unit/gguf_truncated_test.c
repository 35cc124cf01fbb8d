/* A model file that is cut short while it is mapped: zeros and a flag instead of a signal's death. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/gguf/gguf.h"
#include "tests/unit/gguf_writer.h"

#define ELEMENTS (64 * 1024)

static void write_model(char *path)
{
    struct gguf_writer w;
    float *data = malloc(ELEMENTS * sizeof *data);
    assert_non_null(data);
    for (size_t i = 0; i < ELEMENTS; i++)
        data[i] = 1;
    gguf_start(&w, 3);
    gguf_text(&w, "general.name", "cut short");
    gguf_tensor(&w, "big.weight", KG_F32, ELEMENTS, 0, data, ELEMENTS * sizeof *data);
    gguf_end(&w);
    gguf_to_file(w.bytes, w.length, path);
    gguf_free(&w);
    free(data);
}

static double sum_of(const struct kg_gguf *file)
{
    const volatile float *data = kg_gguf_tensor_find(file, "big.weight")->data;
    double sum = 0;
    for (size_t i = 0; i < ELEMENTS; i++)
        sum += (double)data[i];
    return sum;
}

static void reads_zeros_and_says_so(void)
{
    char path[64];
    struct kg_gguf *file, *other;
    struct kg_error err;
    write_model(path);
    assert_int_equal(kg_gguf_open(path, &file, &err), KG_OK);
    assert_true(sum_of(file) == ELEMENTS);
    assert_int_equal(kg_gguf_intact(file, &err), KG_OK);
    assert_int_equal(truncate(path, 8192), 0);
    assert_true(sum_of(file) < 2048);
    assert_int_equal(kg_gguf_intact(file, &err), KG_ERR_CHANGED);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(kg_gguf_open(path, &other, &err), KG_ERR_FORMAT); /* not whole any more */
    unlink(path);

    /* another file, and the same place taken again, know nothing of it */
    write_model(path);
    assert_int_equal(kg_gguf_open(path, &other, &err), KG_OK);
    assert_int_equal(kg_gguf_intact(other, &err), KG_OK);
    kg_gguf_close(file);
    assert_int_equal(kg_gguf_open(path, &file, &err), KG_OK);
    assert_int_equal(kg_gguf_intact(file, &err), KG_OK);
    assert_true(sum_of(file) == ELEMENTS);
    kg_gguf_close(file);
    kg_gguf_close(other);
    unlink(path);
}

static void *read_again_and_again(void *file)
{
    for (int i = 0; i < 40; i++)
        (void)sum_of(file);
    return NULL;
}

static void *open_and_close(void *path)
{
    for (int i = 0; i < 200; i++) {
        struct kg_gguf *file;
        if (kg_gguf_open(path, &file, NULL) == KG_OK)
            kg_gguf_close(file);
    }
    return NULL;
}

/* Threads that read a file being cut, while others come and go in the list of mappings. */
static void many_threads(void)
{
    char path[64], other[64];
    struct kg_gguf *file;
    struct kg_error err;
    pthread_t readers[3], opener;
    write_model(path);
    write_model(other);
    assert_int_equal(kg_gguf_open(path, &file, &err), KG_OK);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_again_and_again, file), 0);
    assert_int_equal(pthread_create(&opener, NULL, open_and_close, other), 0);
    assert_int_equal(truncate(path, 8192), 0);
    for (size_t i = 0; i < 3; i++)
        pthread_join(readers[i], NULL);
    pthread_join(opener, NULL);
    (void)sum_of(file);
    assert_int_equal(kg_gguf_intact(file, &err), KG_ERR_CHANGED);
    kg_gguf_close(file);
    unlink(path);
    unlink(other);
}

/* Touches a mapping that is not ours, behind the end of its file. */
static void touch_foreign(void)
{
    char path[64];
    gguf_to_file("x", 1, path);
    int fd = open(path, O_RDONLY);
    unlink(path);
    const volatile char *bytes = mmap(NULL, 1 << 16, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED)
        _exit(90);
    (void)bytes[1 << 15];
}

static void leave_with_77(int number)
{
    (void)number;
    _exit(77);
}

/* The status with which a child ends that had `action` for SIGBUS when the first file was opened. */
static int child_with(void (*action)(int), int send)
{
    pid_t child = fork();
    if (child == 0) {
        char path[64];
        struct kg_gguf *file;
        signal(SIGBUS, action);
        write_model(path);
        if (kg_gguf_open(path, &file, NULL) != KG_OK)
            _exit(91);
        unlink(path);
        if (send)
            kill(getpid(), SIGBUS);
        else
            touch_foreign();
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* Must run before any other test opens a file: the action is installed once in a process. */
static void other_addresses_go_to_the_action_before(void **state)
{
    (void)state;
    int status = child_with(leave_with_77, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 77);
    status = child_with(leave_with_77, 1);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 77);
    status = child_with(SIG_DFL, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = child_with(SIG_DFL, 1);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = child_with(SIG_IGN, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = child_with(SIG_IGN, 1);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* One test, since cmocka puts its own action for SIGBUS before each. */
static void cut_short_while_read(void **state)
{
    (void)state;
    reads_zeros_and_says_so();
    many_threads();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_addresses_go_to_the_action_before),
        cmocka_unit_test(cut_short_while_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
