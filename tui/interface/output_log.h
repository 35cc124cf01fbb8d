/* While the screen is the interface's, what libraries print to standard output and error goes to a file: kedge.log in
 * the state directory, started anew beyond 1 MB. */
#ifndef KG_TUI_OUTPUT_LOG_H
#define KG_TUI_OUTPUT_LOG_H

/* directory "" or not writable: it is thrown away. */
void kg_output_log_begin(const char *directory);
void kg_output_log_end(void);

#endif
