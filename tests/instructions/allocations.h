/* The memory that the program and the library have allocated; counted where the linker is told to
   --wrap the C library's functions. */

#ifndef ALLOCATIONS_H
#define ALLOCATIONS_H

#include <stddef.h>

/* How often memory was asked for, and how many bytes are in use. */
extern unsigned long allocations;
extern size_t bytes_in_use;

#endif
