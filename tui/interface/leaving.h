/* What stays on the normal screen: the conversation, the last 2,000 rows of a long one, and how to go on with it. */
#ifndef KG_TUI_LEAVING_H
#define KG_TUI_LEAVING_H

#include "tui/interface/interface_state.h"

/* To standard output, if anything was asked. The terminal has been handed back. */
void kg_leaving_print(struct kg_interface *ui);

#endif
