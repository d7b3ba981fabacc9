/* SPDX-License-Identifier: MIT */
/* What the files of this test have of each other. */
#ifdef __cplusplus
extern "C" {
#endif
int (*find_other_same_name(void))(int);
int (*find_only_in_other(void))(int);
int (*find_chosen_two(void))(int);
int find_chosen(int x);
/* C++ functions, as addresses: see find_cxx.cc. */
void (*find_cxx(int which))(void);
#ifdef __cplusplus
}
#endif
