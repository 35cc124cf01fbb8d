#include "engine/eval/edit_task.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/paths.h"

static const char ending[] = ".task";

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), n = strlen(end);
    return length > n && strcmp(text + length - n, end) == 0;
}

static bool is_path(const char *path)
{
    bool first = true; /* of a part */
    for (const char *at = path; *at; at++) {
        if (first && (*at == '/' || *at == '.'))
            return false;
        if (!isalnum((unsigned char)*at) && !strchr("_-./", *at))
            return false;
        first = *at == '/';
    }
    return !first;
}

/* "-- PATH --": PATH, in place; NULL where the line is none. */
static char *marked(char *line, size_t length)
{
    if (length < 7 || memcmp(line, "-- ", 3) != 0 || memcmp(line + length - 3, " --", 3) != 0)
        return NULL;
    line[length - 3] = '\0';
    return line + 3;
}

static enum kg_status add_part(struct kg_edit_task *task, char *path, const char *text, size_t length, struct kg_error *err)
{
    if (strcmp(path, "solution.patch") == 0) {
        task->solution = text;
        return KG_OK;
    }
    bool check = strcmp(path, "check.sh") == 0 || strncmp(path, "check/", 6) == 0;
    struct kg_edit_file *files = check ? task->checks : task->files;
    size_t *count = check ? &task->check_count : &task->file_count;
    if (!is_path(path))
        return kg_fail(err, KG_ERR_FORMAT, "task %s: '%s' is no path that a task may use", task->name, path);
    if (*count == KG_EDIT_TASK_FILES)
        return kg_fail(err, KG_ERR_RANGE, "task %s has more than %d files", task->name, KG_EDIT_TASK_FILES);
    for (size_t i = 0; i < *count; i++)
        if (strcmp(files[i].path, path) == 0)
            return kg_fail(err, KG_ERR_FORMAT, "task %s has %s twice", task->name, path);
    files[(*count)++] = (struct kg_edit_file){ .path = path, .text = text, .length = length };
    return KG_OK;
}

/* From the first marker on: every part ends where the next marker's line begins, which becomes its NUL. */
static enum kg_status split_parts(struct kg_edit_task *task, char *at, char *end, struct kg_error *err)
{
    char *path = NULL, *text = NULL;
    enum kg_status status = KG_OK;
    while (at < end && status == KG_OK) {
        char *feed = memchr(at, '\n', (size_t)(end - at)), *next = feed ? feed + 1 : end;
        char *found = marked(at, (size_t)((feed ? feed : end) - at));
        if (found) {
            *at = '\0';
            if (path)
                status = add_part(task, path, text, (size_t)(at - text), err);
            path = found;
            text = next;
        }
        at = next;
    }
    return status == KG_OK && path ? add_part(task, path, text, (size_t)(end - text), err) : status;
}

static const char *known_word(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(word, *words) == 0)
            return *words;
    return NULL;
}

static uint32_t count_lines(const struct kg_edit_file *file)
{
    uint32_t lines = 0;
    for (size_t i = 0; i < file->length; i++)
        lines += file->text[i] == '\n' || i + 1 == file->length;
    return lines;
}

/* "PATH FIRST-LAST" */
static bool set_region(struct kg_edit_task *task, char *value)
{
    char *numbers = strchr(value, ' '), *end;
    if (!numbers)
        return false;
    *numbers++ = '\0';
    unsigned long first = strtoul(numbers, &end, 10), last = *end == '-' ? strtoul(end + 1, &end, 10) : 0;
    for (size_t i = 0; i < task->file_count; i++) {
        struct kg_edit_file *file = &task->files[i];
        if (strcmp(file->path, value) != 0)
            continue;
        file->first = (uint32_t)first;
        file->last = (uint32_t)last;
        return !*end && first >= 1 && first <= last && last <= count_lines(file);
    }
    return false;
}

static enum kg_status read_head_line(struct kg_edit_task *task, char *line, struct kg_error *err)
{
    static const char *const languages[] = { "c", "python", "javascript", NULL }, *const kinds[] = { "rename", "parameter", "bug", "case", NULL };
    char *value = strstr(line, ": ");
    if (value) {
        *value = '\0';
        value += 2;
        if (strcmp(line, "region") == 0 && set_region(task, value))
            return KG_OK;
        if (strcmp(line, "language") == 0 && (task->language = known_word(value, languages)))
            return KG_OK;
        if (strcmp(line, "kind") == 0 && (task->kind = known_word(value, kinds)))
            return KG_OK;
    }
    return kg_fail(err, KG_ERR_FORMAT, "task %s: its head cannot be read at '%s%s%s'", task->name, line, value ? ": " : "", value ? value : "");
}

/* The lines before the first empty one; the request stands behind it. */
static enum kg_status read_head(struct kg_edit_task *task, char *head, struct kg_error *err)
{
    char *request = strstr(head, "\n\n");
    enum kg_status status = KG_OK;
    if (request) {
        *request = '\0';
        request += 2;
        size_t length = strlen(request);
        while (length && isspace((unsigned char)request[length - 1]))
            request[--length] = '\0';
        task->request = request;
    }
    for (char *line; status == KG_OK && (line = strsep(&head, "\n"));)
        status = read_head_line(task, line, err);
    return status;
}

static bool has_check(const struct kg_edit_task *task)
{
    for (size_t i = 0; i < task->check_count; i++)
        if (strcmp(task->checks[i].path, "check.sh") == 0)
            return true;
    return false;
}

static enum kg_status parse_task(struct kg_edit_task *task, size_t length, struct kg_error *err)
{
    char *parts = strstr(task->text, "\n-- ");
    if (memchr(task->text, '\0', length) || !parts)
        return kg_fail(err, KG_ERR_FORMAT, "task %s is no text with files in it", task->name);
    *parts = '\0';
    enum kg_status status = split_parts(task, parts + 1, task->text + length, err);
    if (status == KG_OK)
        status = read_head(task, task->text, err);
    if (status != KG_OK)
        return status;
    const char *missing = !task->language ? "a language" : !task->kind ? "a kind" : !task->request || !*task->request ? "a request" :
                          !task->file_count ? "files" : !has_check(task) ? "check.sh" : !task->solution ? "solution.patch" : NULL;
    return missing ? kg_fail(err, KG_ERR_FORMAT, "task %s has not %s", task->name, missing) : KG_OK;
}

static enum kg_status read_task(struct kg_edit_tasks *tasks, const char *path, struct kg_error *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t length = 0;
    if (tasks->count == KG_EDIT_TASKS_MAX)
        return kg_fail(err, KG_ERR_RANGE, "there are more than %d tasks", KG_EDIT_TASKS_MAX);
    struct kg_edit_task *grown = realloc(tasks->tasks, (tasks->count + 1) * sizeof *grown);
    if (!grown)
        return kg_fail_nomem(err, "reading tasks");
    tasks->tasks = grown;
    struct kg_edit_task *task = &tasks->tasks[tasks->count++];
    *task = (struct kg_edit_task){ 0 };
    kg_printable(task->name, sizeof task->name, name, strlen(name) - (ends_with(name, ending) ? sizeof ending - 1 : 0));
    enum kg_status status = kg_read_file(path, KG_EDIT_TASK_MAX, &task->text, &length, err);
    return status == KG_OK ? parse_task(task, length, err) : status;
}

static int is_task(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && ends_with(entry->d_name, ending);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static enum kg_status read_folder(struct kg_edit_tasks *tasks, const char *place, struct kg_error *err)
{
    struct dirent **entries = NULL;
    enum kg_status status = KG_OK;
    int count = scandir(place, &entries, is_task, by_name);
    if (count < 0)
        return kg_fail(err, KG_ERR_IO, "cannot list %s: %s", place, strerror(errno));
    for (int i = 0; i < count; i++) {
        char path[KG_PATH_MAX];
        if (status == KG_OK && snprintf(path, sizeof path, "%s/%s", place, entries[i]->d_name) >= (int)sizeof path)
            status = kg_fail(err, KG_ERR_RANGE, "the path of %s is too long", entries[i]->d_name);
        if (status == KG_OK)
            status = read_task(tasks, path, err);
        free(entries[i]);
    }
    free(entries);
    return status == KG_OK && count == 0 ? kg_fail(err, KG_ERR_NOT_FOUND, "%s holds no %s files", place, ending) : status;
}

enum kg_status kg_edit_tasks_read(const char *place, struct kg_edit_tasks *out, struct kg_error *err)
{
    struct stat st;
    *out = (struct kg_edit_tasks){ 0 };
    if (stat(place, &st) != 0)
        return kg_fail(err, errno == ENOENT ? KG_ERR_NOT_FOUND : KG_ERR_IO, "cannot open %s: %s", place, strerror(errno));
    enum kg_status status = S_ISDIR(st.st_mode) ? read_folder(out, place, err) : read_task(out, place, err);
    if (status != KG_OK)
        kg_edit_tasks_free(out);
    return status;
}

void kg_edit_tasks_free(struct kg_edit_tasks *tasks)
{
    for (size_t i = 0; i < tasks->count; i++)
        free(tasks->tasks[i].text);
    free(tasks->tasks);
    *tasks = (struct kg_edit_tasks){ 0 };
}
