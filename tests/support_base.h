/* What every test file includes first: cmocka and the library. */
#ifndef MP_TEST_BASE_H
#define MP_TEST_BASE_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "onnx/onnx.h"

/* |a - b| <= tolerance, in double precision */
#define assert_close(a, b, tolerance) test_close((a), (b), (tolerance), __FILE__, __LINE__)
void test_close(double a, double b, double tolerance, const char *file, int line);

/* The folder of reference data (MEMPLAN_SHARED, default ../shared), or NULL after saying that the test skips. */
const char *test_shared(void);

/* with sanitizers an arena leaves a gap behind every object */
#if defined(__SANITIZE_ADDRESS__)
#define TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif
#ifndef TEST_SANITIZED
#define TEST_SANITIZED 0
#endif

#endif
