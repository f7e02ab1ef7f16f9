#include "allocations.h"

#include <malloc.h>
#include <stdlib.h>

unsigned long allocations;
size_t bytes_in_use;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
void __real_free(void *memory);

static void *
counted(void *memory)
{
    allocations++;
    bytes_in_use += malloc_usable_size(memory);
    return memory;
}

void *
__wrap_malloc(size_t size)
{
    return counted(__real_malloc(size));
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return counted(__real_calloc(count, size));
}

void *
__wrap_realloc(void *memory, size_t size)
{
    bytes_in_use -= malloc_usable_size(memory);
    return counted(__real_realloc(memory, size));
}

int
__wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    int error = __real_posix_memalign(memory, alignment, size);

    if (error == 0) {
        counted(*memory);
    }
    return error;
}

void
__wrap_free(void *memory)
{
    bytes_in_use -= malloc_usable_size(memory);
    __real_free(memory);
}
