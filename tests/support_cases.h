/* Cases of operators' rules as text, three lines each (tests/cases_*.txt):
 *
 *     Add 7                                          [domain.]operator and the opset its row holds from
 *     x: float[2,1]; y: float[3]; z = Add(x, y)      a drawing (support_graph.h); its opset is the row's unless it says "opset"
 *     z: float32[2, 3] | macs 0 | flops 6            what comes out: values as test_shown writes them, cost of the node that the row covers, or
 *                                                    "warns TEXT", "why VALUE: TEXT" (a part of the line)
 *
 * A blank line ends a case, '#' starts a comment line. The node whose operator the first line names must have got that row. */
#ifndef MP_TEST_CASES_H
#define MP_TEST_CASES_H
#include "support_graph.h"

/* Runs every case of tests/FILE; fails the test after listing what differs. */
void test_cases(const char *file);
/* Builds every case of tests/FILE a second time with numbers for its named dimensions: what was symbolic must come out as it says. Cases that the numbers
 * contradict are passed over. Returns how many dims were compared. */
uint32_t test_cases_bound(const char *file);
/* The rows of the operator table that no case of any tests/cases_*.txt names: printed, counted. */
uint32_t test_rows_without_case(void);

#endif
