/* Programs recovered from drawn files (support_graph.h), and what they look like. */
#ifndef SUPPORT_RECOVER_H
#define SUPPORT_RECOVER_H

#include "planner/inside.h"

/* of a file as the TorchScript exporter writes it; fails the test where it is refused */
const mp_program *test_recovered(mp_arena *a, const char *drawing);
/* the calls as text: "linear(x,fn.weight) gelu(%)": % is a computed value, relu_() works in place, mul'() without gradients */
const char *test_calls_text(mp_arena *a, const mp_program *p);
void test_expect_calls(const char *drawing, const char *calls);
bool test_program_warned(const mp_program *p, const char *part);
const mp_var *test_var_named(const mp_program *p, const char *name);

/* of a file as the dynamo exporter writes it: a node with the FX call that it came from, the modules around it, and the graph's signature */
const mp_program *test_recovered_fx(mp_arena *a, const char *drawing);
/* the call's line in the report without its number and nodes */
const char *test_call_line(mp_arena *a, const mp_program *p, uint32_t call);

#define FX(text) " meta.pkg.torch.onnx.fx_node=\"" text "\""
#define IN(scopes, classes) " meta.pkg.torch.onnx.name_scopes=\"" scopes "\" meta.pkg.torch.onnx.class_hierarchy=\"" classes "\""
#define SIGNATURE(text) "graphmeta pkg.torch.export.ExportedProgram.graph_signature=\"" text "\"\n"

#define AT(out, op, args, module) \
  FX("%" out " : [num_users=1] = call_function[target=torch.ops.aten." op "](args = (" args "), kwargs = {})") IN("['', '" module "', '" out "']", "['M', 'Layer', 'aten']") "\n"
#define LINE(text) " meta.pkg.torch.onnx.stack_trace=\"File 'm.py', line 1, in forward\n    " text "\""

#endif
