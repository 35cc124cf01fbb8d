#include "tui/commands/eval_edit_judge.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tui/commands/eval_judge.h"
#include "tui/sandbox/sandbox.h"

/* Room for a compiler, or for an interpreter with threads of its own, on a machine that is busy. */
static const struct kg_sandbox_limits limits = {
    .wall_s = 60, .cpu_s = 10, .memory = (uint64_t)4 << 30, .processes = 48, .files = (uint64_t)64 << 20, .output = 4096,
};
static const char *const python[] = { "/usr/bin/python3", "-I", NULL };

static const char checker[] =
    "import json, os, subprocess, sys\n"
    "given = json.loads(sys.stdin.buffer.read().decode('utf-8', 'replace'))\n"
    "place = '/tmp/project'\n"
    "environment = {'PATH': '/usr/bin:/bin', 'HOME': '/tmp', 'TMPDIR': '/tmp', 'LC_ALL': 'C.UTF-8', 'PYTHONDONTWRITEBYTECODE': '1'}\n"
    "def put(files):\n"
    "    for path, text in files.items():\n"
    "        path = os.path.join(place, path)\n"
    "        os.makedirs(os.path.dirname(path), exist_ok=True)\n"
    "        with open(path, 'w', encoding='utf-8', errors='replace', newline='') as file:\n"
    "            file.write(text)\n"
    "def run(*words, given=''):\n"
    "    with open('/tmp/said', 'w+b') as said:\n"
    "        code = subprocess.run(words, cwd=place, env=environment, input=given.encode(), stdout=said, stderr=said).returncode\n"
    "        said.seek(0)\n"
    "        lines = said.read(4096).decode('utf-8', 'replace').split('\\n')\n"
    "    return code, next((line.strip() for line in lines if 'rror' in line), next((line.strip() for line in lines if line.strip()), ''))\n"
    "put(given['files'])\n"
    "outcome, said = 'wrong', ''\n"
    "code = 0\n"
    "if given['patch']:\n"
    "    code, said = run('git', 'apply', '-', given=given['patch'])\n"
    "    outcome = 'patch'\n"
    "if code == 0:\n"
    "    put(given['checks'])\n"
    "    code, said = run('sh', 'check.sh')\n"
    "    outcome = 'wrong' if code else 'passed'\n"
    "print(json.dumps([given['word'], outcome, said[:300]]))\n";

static bool add_files(cJSON *to, const char *name, const struct kg_edit_file *files, size_t count)
{
    cJSON *object = cJSON_AddObjectToObject(to, name);
    for (size_t i = 0; i < count && object; i++)
        if (!cJSON_AddStringToObject(object, files[i].path, files[i].text))
            return false;
    return object != NULL;
}

static char *describe(const struct kg_edit_task *task, const struct kg_edit_file *files, size_t count, bool solved, const char *word)
{
    cJSON *given = cJSON_CreateObject();
    char *text = NULL;
    if (cJSON_AddStringToObject(given, "word", word) && cJSON_AddStringToObject(given, "patch", solved ? task->solution : "") &&
        add_files(given, "files", files, count) && add_files(given, "checks", task->checks, task->check_count))
        text = cJSON_PrintUnformatted(given);
    cJSON_Delete(given);
    return text;
}

static void judge_end(const struct kg_sandbox_verdict *verdict, struct kg_edit_judgement *out)
{
    switch (verdict->end) {
    case KG_SANDBOX_TIME: strcpy(out->reason, "time"); break;
    case KG_SANDBOX_MEMORY: strcpy(out->reason, "memory"); break;
    case KG_SANDBOX_OUTPUT: strcpy(out->reason, "too much output"); break;
    case KG_SANDBOX_KILLED: snprintf(out->reason, sizeof out->reason, "signal %d", verdict->status); break;
    case KG_SANDBOX_EXITED: snprintf(out->reason, sizeof out->reason, "exit %d before the check's end", verdict->status); break;
    }
}

static enum kg_status judge_words(const struct kg_edit_task *task, const struct kg_sandbox_verdict *verdict, const char *word,
                                  struct kg_edit_judgement *out, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    cJSON *words = cJSON_ParseWithOpts(verdict->output, NULL, true);
    const char *outcome = kg_judge_word_at(words, 1), *said = kg_judge_word_at(words, 2);
    if (strcmp(kg_judge_word_at(words, 0), word) != 0 || verdict->end != KG_SANDBOX_EXITED || verdict->status != 0)
        judge_end(verdict, out);
    else if (strcmp(outcome, "patch") == 0)
        status = kg_fail(err, KG_ERR_FORMAT, "task %s: its solution does not fit: %s", task->name, said);
    else {
        out->passed = strcmp(outcome, "passed") == 0;
        kg_printable(out->reason, sizeof out->reason, out->passed ? "passed" : said, out->passed ? 6 : strlen(said));
        if (!out->reason[0])
            strcpy(out->reason, "the check says nothing");
    }
    cJSON_Delete(words);
    return status;
}

enum kg_status kg_edit_judge_check(const struct kg_edit_tasks *tasks, struct kg_error *err)
{
    static const struct {
        const char *language, *program, *package;
    } needs[] = { { "c", "/usr/bin/gcc", "gcc libc6-dev" }, { "javascript", "/usr/bin/node", "nodejs" } };
    for (size_t i = 0; i < tasks->count; i++)
        for (size_t k = 0; k < sizeof needs / sizeof *needs; k++)
            if (strcmp(tasks->tasks[i].language, needs[k].language) == 0 && access(needs[k].program, X_OK) != 0)
                return kg_fail(err, KG_ERR_UNSUPPORTED, "task %s is checked with %s, which is not here; install it: apt-get install %s",
                               tasks->tasks[i].name, needs[k].program, needs[k].package);
    return kg_sandbox_check(python, err);
}

enum kg_status kg_edit_judge(const struct kg_edit_task *task, const struct kg_edit_file *files, size_t count, bool solved, const atomic_bool *stop,
                             struct kg_edit_judgement *out, struct kg_error *err)
{
    char word[33];
    struct kg_sandbox_verdict verdict = { 0 };
    memset(out, 0, sizeof *out);
    if (!kg_judge_make_word(word))
        return kg_fail(err, KG_ERR_IO, "the system gives no random numbers");
    char *input = describe(task, files, count, solved, word);
    if (!input)
        return kg_fail_nomem(err, "checking an answer");
    struct kg_sandbox_program run = { .interpreter = python, .text = checker, .length = sizeof checker - 1, .input = input,
                                      .input_length = strlen(input), .limits = limits, .stop = stop };
    enum kg_status status = kg_sandbox_run(&run, &verdict, err);
    if (status == KG_OK)
        status = judge_words(task, &verdict, word, out, err);
    free(verdict.output);
    free(input);
    return status;
}
