/* Hostile programs in the sandbox: each does its worst, and the verdict says what became of it. */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tui/sandbox/sandbox.h"

static const char *const python[] = { "/usr/bin/python3", "-I", NULL };
static const struct kg_sandbox_limits usual = { .wall_s = 30, .cpu_s = 10, .memory = (uint64_t)512 << 20, .processes = 4,
                                                .files = 1 << 20, .output = 4096 };

static bool skipped;

static int look_for_sandbox(void **state)
{
    struct kg_error err;
    (void)state;
    if (kg_sandbox_check(python, &err) != KG_OK) {
        skipped = true;
        print_message("# SKIP %s\n", err.text);
    }
    return 0;
}

static struct kg_sandbox_verdict run_with(const char *text, const char *input, const struct kg_sandbox_limits *limits)
{
    struct kg_sandbox_program program = { .interpreter = python, .text = text, .length = strlen(text), .input = input,
                                          .input_length = strlen(input), .limits = *limits };
    struct kg_sandbox_verdict verdict;
    struct kg_error err;
    if (skipped)
        skip();
    if (kg_sandbox_run(&program, &verdict, &err) != KG_OK)
        fail_msg("%s", err.text);
    assert_true(waitpid(-1, NULL, WNOHANG) < 0); /* nobody is left, dead or alive */
    return verdict;
}

static struct kg_sandbox_verdict run(const char *text)
{
    return run_with(text, "", &usual);
}

/* It ran to its end and printed this. */
static void expect_output(const char *text, const char *expected)
{
    struct kg_sandbox_verdict verdict = run(text);
    assert_string_equal(verdict.output, expected);
    assert_int_equal(verdict.length, strlen(expected));
    assert_int_equal(verdict.end, KG_SANDBOX_EXITED);
    assert_int_equal(verdict.status, 0);
    free(verdict.output);
}

static void expect_end(const char *text, const struct kg_sandbox_limits *limits, enum kg_sandbox_end end)
{
    struct kg_sandbox_verdict verdict = run_with(text, "", limits);
    free(verdict.output);
    assert_int_equal(verdict.end, end);
}

static void test_what_a_program_says(void **state)
{
    (void)state;
    expect_output("print('hello')", "hello\n");
    struct kg_sandbox_verdict verdict = run_with("import sys; d = sys.stdin.buffer.read(); print(len(d), d[:3]); sys.exit(7)", "abc\xff", &usual);
    assert_string_equal(verdict.output, "4 b'abc'\n");
    assert_int_equal(verdict.end, KG_SANDBOX_EXITED);
    assert_int_equal(verdict.status, 7);
    free(verdict.output);
    verdict = run("raise SystemExit(255)");
    assert_int_equal(verdict.end, KG_SANDBOX_EXITED);
    assert_int_equal(verdict.status, 255);
    free(verdict.output);
}

static void test_time(void **state)
{
    (void)state;
    struct kg_sandbox_limits limits = usual;
    limits.wall_s = 1;
    expect_end("import time\nwhile True: time.sleep(1)", &limits, KG_SANDBOX_TIME);
    limits = usual;
    limits.cpu_s = 1;
    expect_end("while True: pass", &limits, KG_SANDBOX_TIME);
    expect_end("import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass", &limits, KG_SANDBOX_TIME);
}

static void test_signals(void **state)
{
    (void)state;
    struct kg_sandbox_verdict verdict = run("import os; os.kill(os.getpid(), 11)");
    assert_int_equal(verdict.end, KG_SANDBOX_KILLED);
    assert_int_equal(verdict.status, SIGSEGV);
    free(verdict.output);
    expect_end("import os; os.kill(os.getpid(), 9)", &usual, KG_SANDBOX_MEMORY);
    expect_output("import os\nfor pid in (-1, 1):\n  try: os.kill(pid, 9)\n  except OSError: pass\nprint('here')", "here\n");
}

static void test_memory(void **state)
{
    (void)state;
    expect_output("try: bytearray(10 << 30)\nexcept MemoryError: print('no')", "no\n");
    expect_output("try:\n a = []\n while True: a.append(bytearray(1 << 20))\nexcept MemoryError: a = None; print('no')", "no\n");
}

static void test_processes(void **state)
{
    (void)state;
    expect_output("import os, time\nn = 1\ntry:\n while True:\n  if os.fork() == 0: time.sleep(60)\n  n += 1\nexcept OSError: print(n)", "4\n");
    struct kg_sandbox_limits limits = usual;
    limits.wall_s = 2;
    expect_end("import os\nwhile True:\n try: os.fork()\n except OSError: pass", &limits, KG_SANDBOX_TIME);
    /* one that hides in a session of its own and stays behind */
    expect_output("import os, time\nif os.fork() == 0:\n os.setsid(); os.close(1); time.sleep(600)\nprint('bye')", "bye\n");
}

static void test_output(void **state)
{
    (void)state;
    struct kg_sandbox_verdict verdict = run("b = b'x' * 65536\nimport os\nfor i in range(1 << 14): os.write(1, b)");
    assert_int_equal(verdict.end, KG_SANDBOX_OUTPUT);
    assert_int_equal(verdict.length, usual.output);
    assert_true(verdict.seconds < usual.wall_s);
    free(verdict.output);
    /* standard error is nobody's concern */
    expect_output("import os\nfor i in range(1000): os.write(2, b'x' * 65536)\nprint('done')", "done\n");
    verdict = run_with("print('x' * 4095)", "", &usual);
    assert_int_equal(verdict.end, KG_SANDBOX_EXITED);
    assert_int_equal(verdict.length, 4096);
    free(verdict.output);
}

static void test_files(void **state)
{
    (void)state;
    expect_output("import os\nfor p in ('/etc/passwd', '/root', '/home', '/proc/self/environ', '/sys', '/var', '/run', '/dev/sda', '/dev/kmsg'):\n"
                  "  if os.path.exists(p): print(p)\nprint(open('/program').read()[:9])", "import os\n");
    expect_output("for p in ('/x', '/usr/x', '/usr/bin/x', '/dev/x', '/dev/shm/x', '/program', '/bin/sh', '/etc/x'):\n"
                  "  try: open(p, 'w'); print(p)\n"
                  "  except OSError: pass\nopen('/tmp/of-the-sandbox-test', 'w').write('mine')", "");
    expect_output("n = 0\ntry:\n for i in range(99):\n  open(f'/tmp/{i}', 'wb', 0).write(b'x' * 65536); n += 1\nexcept OSError: print(0 < n <= 16)", "True\n");
    expect_output("import os\nprint(os.listdir('/tmp'), sorted(os.listdir('/')) == sorted({'bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32', 'dev', 'tmp', 'usr', "
                  "'program'} & set(os.listdir('/'))))", "[] True\n");
    assert_int_equal(access("/tmp/of-the-sandbox-test", F_OK), -1);
}

static void test_nothing_is_inherited(void **state)
{
    (void)state;
    setenv("KEDGE_SECRET", "abc", 1);
    int fd = open("/etc/passwd", O_RDONLY); /* without O_CLOEXEC */
    expect_output("import os\nprint([k for k in os.environ if k not in ('PWD', 'LC_CTYPE')])", "[]\n");
    expect_output("import os\nfor fd in range(3, 64):\n  try: os.fstat(fd); print(fd)\n  except OSError: pass", "");
    expect_output("import os\nprint(os.getuid() != 0, os.getpid() < 10, os.uname().nodename)", "True True sandbox\n");
    expect_output("import os\ntry: os.setuid(0); print('root')\nexcept OSError: print('no')", "no\n");
    expect_output("import ctypes\nprint(ctypes.CDLL(None).unshare(0x10000000))", "-1\n"); /* a user namespace */
    close(fd);
}

static void test_network(void **state)
{
    (void)state;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    char text[512];
    assert_int_equal(bind(listening, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &length), 0);
    snprintf(text, sizeof text,
             "import socket\nfor to in (('127.0.0.1', %d), ('192.0.2.1', 80)):\n  try: socket.create_connection(to, 2); print('connected')\n"
             "  except OSError: print('no')\n", ntohs(address.sin_port));
    expect_output(text, "no\nno\n");
    close(listening);
}

static void *stop_soon(void *flag)
{
    nanosleep(&(struct timespec){ .tv_nsec = 500000000 }, NULL);
    atomic_store((atomic_bool *)flag, true);
    return NULL;
}

static void test_stopped_on_request(void **state)
{
    (void)state;
    atomic_bool stop = false;
    static const char text[] = "while True: pass";
    struct kg_sandbox_program program = { .interpreter = python, .text = text, .length = sizeof text - 1, .input = "", .limits = usual, .stop = &stop };
    struct kg_sandbox_verdict verdict;
    struct kg_error err;
    pthread_t thread;
    if (skipped)
        skip();
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, &stop), 0);
    assert_int_equal(kg_sandbox_run(&program, &verdict, &err), KG_ERR_CANCELLED);
    pthread_join(thread, NULL);
    assert_true(verdict.seconds < 10);
    assert_true(waitpid(-1, NULL, WNOHANG) < 0);
}

/* Is there a process with this among its arguments? */
static bool runs(const char *argument)
{
    DIR *processes = opendir("/proc");
    bool found = false;
    for (const struct dirent *entry; !found && (entry = readdir(processes));) {
        char path[300], arguments[4096];
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        FILE *file = fopen(path, "re");
        size_t n = file ? fread(arguments, 1, sizeof arguments, file) : 0;
        found = n > 7 && memcmp(arguments, python[0], 7) == 0 && memmem(arguments, n, argument, strlen(argument));
        if (file)
            fclose(file);
    }
    closedir(processes);
    return found;
}

static void wait_until(const char *argument, bool running)
{
    for (unsigned tenth = 0; tenth < 300 && runs(argument) != running; tenth++)
        nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
    assert_int_equal(runs(argument), running);
}

static void test_ends_with_its_parent(void **state)
{
    (void)state;
    char mark[64];
    if (skipped)
        skip();
    snprintf(mark, sizeof mark, "parent-%d", (int)getpid());
    pid_t child = fork();
    if (child == 0) {
        const char *const marked[] = { python[0], "-I", "-X", mark, NULL };
        static const char text[] = "import time; time.sleep(600)";
        struct kg_sandbox_program program = { .interpreter = marked, .text = text, .length = sizeof text - 1, .input = "", .limits = usual };
        program.limits.wall_s = 600;
        struct kg_sandbox_verdict verdict;
        kg_sandbox_run(&program, &verdict, NULL);
        _exit(0);
    }
    wait_until(mark, true);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    wait_until(mark, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_program_says), cmocka_unit_test(test_time),
        cmocka_unit_test(test_signals),             cmocka_unit_test(test_memory),
        cmocka_unit_test(test_processes),           cmocka_unit_test(test_output),
        cmocka_unit_test(test_files),               cmocka_unit_test(test_nothing_is_inherited),
        cmocka_unit_test(test_network),             cmocka_unit_test(test_stopped_on_request),
        cmocka_unit_test(test_ends_with_its_parent),
    };
    return cmocka_run_group_tests(tests, look_for_sandbox, NULL);
}
