// SPDX-License-Identifier: MIT

//go:build cgo && linux && amd64

// Package beside is a cgo program's C part, for a test: handlers of its own for
// the signals that patas uses, and a thread that blocks every signal and calls
// Go.
package beside

/*
#cgo CFLAGS: -D_GNU_SOURCE
#cgo LDFLAGS: -lpthread
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

static volatile int ill_count, trap_count;

static void on_ill(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	ill_count++;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2; // ud2
}

static void on_trap(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	(void)context;
	trap_count++;
}

static void install(void)
{
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_flags = SA_SIGINFO | SA_ONSTACK;
	action.sa_sigaction = on_ill;
	sigaction(SIGILL, &action, 0);
	action.sa_sigaction = on_trap;
	sigaction(SIGTRAP, &action, 0);
}

static int installed(void)
{
	struct sigaction ill, trap;
	sigaction(SIGILL, 0, &ill);
	sigaction(SIGTRAP, 0, &trap);
	return ill.sa_sigaction == on_ill && trap.sa_sigaction == on_trap;
}

static void raise_both(void)
{
	__asm__ volatile("ud2");
	__asm__ volatile("int3");
}

static int ills(void) { return ill_count; }
static int traps(void) { return trap_count; }

void besideCallback(void);

static volatile int stop;
static pthread_t thread;

static void *run(void *unused)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, 0);
	while (!stop)
		besideCallback();
	return unused;
}

static int start(void)
{
	stop = 0;
	return pthread_create(&thread, 0, run, 0);
}

static void finish(void)
{
	stop = 1;
	pthread_join(thread, 0);
}
*/
import "C"

// Callback is what the thread calls.
var Callback func()

//export besideCallback
func besideCallback() { Callback() }

// Install puts the C handlers in.
func Install() { C.install() }

// Installed tells whether nothing is in front of them.
func Installed() bool { return C.installed() != 0 }

// Raise meets an illegal instruction and a breakpoint, in C.
func Raise() { C.raise_both() }

// Counts says how often each handler ran.
func Counts() (ill, trap int) { return int(C.ills()), int(C.traps()) }

// Start has a thread call Callback, with all signals blocked, until Finish.
func Start() bool { return C.start() == 0 }

// Finish ends the thread.
func Finish() { C.finish() }
