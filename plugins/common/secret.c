/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/common/secret.h"

#include <errno.h>
#include <openssl/crypto.h>

#include "blktap/plugin.h"

/* As the module is loaded: later it would be too late.  The next module that
 * does so tells libcrypto the same. */
__attribute__((constructor)) static void
secret_hook(void)
{
    CRYPTO_set_mem_functions(blk_secret_malloc, blk_secret_realloc,
                             blk_secret_free);
}

int
secret_works(void)
{
    CRYPTO_malloc_fn get;
    CRYPTO_realloc_fn more;
    CRYPTO_free_fn put;

    CRYPTO_get_mem_functions(&get, &more, &put);
    return get == blk_secret_malloc ? 0 : -EALREADY;
}

void
secret_begin(void)
{
    if (!secret_works())
        blk_secret_begin();
}

void
secret_end(void)
{
    blk_secret_end();
}
