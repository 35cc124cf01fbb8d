#include "tui/interface/output_log.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/paths.h"

#define LOG_MOST 1000000

static int kept[2] = { -1, -1 }; /* duplicates of 1 and 2 */

static int open_log(const char *directory)
{
    char path[KG_PATH_MAX];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/kedge.log", directory);
    int fd = -1;
    if (*directory && n > 0 && n < (int)sizeof path)
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > LOG_MOST && ftruncate(fd, 0) != 0) {
        close(fd);
        fd = -1;
    }
    return fd >= 0 ? fd : open("/dev/null", O_WRONLY | O_CLOEXEC);
}

void kg_output_log_begin(const char *directory)
{
    int fd = open_log(directory);
    if (fd < 0)
        return;
    fflush(stdout);
    fflush(stderr);
    for (int i = 0; i < 2; i++) {
        kept[i] = fcntl(i + 1, F_DUPFD_CLOEXEC, 3);
        if (kept[i] >= 0)
            dup2(fd, i + 1);
    }
    close(fd);
}

void kg_output_log_end(void)
{
    fflush(stdout);
    fflush(stderr);
    for (int i = 0; i < 2; i++) {
        if (kept[i] < 0)
            continue;
        dup2(kept[i], i + 1);
        close(kept[i]);
        kept[i] = -1;
    }
}
