/* The mouse, while the terminal tells of it: the wheel scrolls what is under it, a click places the cursor or folds. */
#include "tui/interface/interface_state.h"

#define WHEEL_ROWS 3

void kg_interface_turn_mouse(struct kg_interface *ui)
{
    bool on = kg_terminal_mouse(ui->terminal);
    kg_interface_hint(ui, on ? "the mouse scrolls, places the cursor and folds; F3 lets it select text" : "the mouse selects text; F3 lets it scroll and click");
}

static void turn_wheel(struct kg_interface *ui, const struct kg_key *key)
{
    int direction = key->letter == 'u' ? -1 : 1;
    if (ui->mode == KG_MODE_REVIEW) {
        struct kg_key row = { .code = direction < 0 ? KG_KEY_UP : KG_KEY_DOWN };
        for (int i = 0; i < WHEEL_ROWS; i++)
            kg_interface_review_key(ui, &row);
    } else if (ui->mode == KG_MODE_SESSIONS) {
        kg_session_list_move(&ui->sessions, direction);
    } else if (key->column >= ui->view.pane_column) {
        kg_pane_move(&ui->pane, direction);
    } else {
        kg_transcript_scroll(ui->transcript, direction * WHEEL_ROWS);
        if (ui->mode == KG_MODE_BROWSE)
            kg_transcript_select_seen(ui->transcript);
    }
}

void kg_interface_mouse(struct kg_interface *ui, const struct kg_key *key)
{
    size_t offset;
    if (key->letter != 'c')
        turn_wheel(ui, key);
    else if (kg_view_input_at(&ui->view, ui->screen, key->row, key->column, &offset))
        kg_editor_place(ui->view.editor == ui->line ? ui->line : ui->editor, offset);
    else if (ui->mode != KG_MODE_REVIEW && ui->mode != KG_MODE_SESSIONS && key->row < ui->view.page && key->column < ui->view.pane_column)
        kg_transcript_fold_at(ui->transcript, key->row);
}
