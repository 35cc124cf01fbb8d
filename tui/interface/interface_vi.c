/* The input with the keys of vi. */
#include "tui/interface/interface_state.h"

#define COMMANDS_PROMPT "‹ "

void kg_interface_show_vi(struct kg_interface *ui)
{
    bool commands = ui->vi && kg_vi_commands(ui->vi);
    if (ui->mode != KG_MODE_INPUT)
        return;
    ui->view.prompt = commands ? COMMANDS_PROMPT : ui->edited ? KG_PROMPT_EDITED : KG_PROMPT;
    ui->view.note = commands ? kg_vi_typed(ui->vi) : NULL;
    if (commands)
        kg_vi_settle(ui->vi, ui->editor);
}

static void grant(struct kg_interface *ui, enum kg_vi_wish wish)
{
    switch (wish) {
    case KG_VI_BELL:
        kg_terminal_bell(ui->terminal);
        break;
    case KG_VI_UP:
    case KG_VI_DOWN:
        for (unsigned i = kg_vi_times(ui->vi); i > 0; i--)
            kg_interface_row(ui, wish == KG_VI_UP ? -1 : 1);
        break;
    case KG_VI_FIND:
        kg_interface_begin_history(ui);
        break;
    default:
        break;
    }
}

/* Letters that came together: commands, and what is inserted behind them. */
static void take_letters(struct kg_interface *ui, const char *text, size_t length)
{
    size_t at = 0;
    while (at < length && kg_vi_commands(ui->vi) && ui->mode == KG_MODE_INPUT) {
        size_t n = 1;
        while (at + n < length && ((unsigned char)text[at + n] & 0xc0) == 0x80)
            n++;
        grant(ui, kg_vi_take(ui->vi, ui->editor, text + at, n));
        at += n;
    }
    struct kg_key rest = { .code = KG_KEY_TEXT, .text = text + at, .length = length - at };
    if (rest.length > 0)
        kg_interface_key(ui, &rest);
}

/* A letter with Alt is Escape and that letter: so they come when they were typed one right behind the other. */
bool kg_interface_vi(struct kg_interface *ui, const struct kg_key *key)
{
    bool alt = key->code == KG_KEY_TEXT && (key->modifiers & KG_ALT);
    if (key->code == KG_KEY_ESCAPE || alt) {
        bool dismissed = kg_completion_dismiss(ui->completion), escaped = kg_vi_escape(ui->vi, ui->editor) || dismissed;
        if (!alt)
            return escaped;
    }
    if (!kg_vi_commands(ui->vi))
        return false;
    if (key->code == KG_KEY_TEXT)
        take_letters(ui, key->text, key->length);
    else if (key->code == KG_KEY_BACKSPACE)
        grant(ui, kg_vi_take(ui->vi, ui->editor, "\b", 1));
    else if (key->code == KG_KEY_DELETE)
        grant(ui, kg_vi_take(ui->vi, ui->editor, "x", 1));
    else if (key->code == KG_KEY_CTRL && key->letter == 'r')
        grant(ui, kg_vi_take(ui->vi, ui->editor, "\x12", 1));
    else
        return false;
    return true;
}
