/* MD5 (RFC 1321) and HMAC-MD5 (RFC 2104), for messages of a test's size. */

#ifndef MD5_H
#define MD5_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MD5_MOST 8192

static void
md5_block(uint32_t state[4], const unsigned char *block)
{
    /* 2^32 * |sin(i + 1)| */
    static const uint32_t sines[64] = {
        0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
        0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
        0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
        0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
        0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
        0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
        0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
        0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
    };
    static const unsigned char shifts[4][4] = {
        {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21},
    };
    uint32_t words[16], a = state[0], b = state[1], c = state[2], d = state[3];
    unsigned i;

    for (i = 0; i < 16; i++) {
        words[i] = (uint32_t) block[4 * i] | (uint32_t) block[4 * i + 1] << 8
                   | (uint32_t) block[4 * i + 2] << 16 | (uint32_t) block[4 * i + 3] << 24;
    }
    for (i = 0; i < 64; i++) {
        unsigned shift = shifts[i / 16][i % 4], word = i;
        uint32_t f, next;

        switch (i / 16) {
        case 0:
            f = (b & c) | (~b & d);
            break;
        case 1:
            f = (d & b) | (~d & c);
            word = 5 * i + 1;
            break;
        case 2:
            f = b ^ c ^ d;
            word = 3 * i + 5;
            break;
        default:
            f = c ^ (b | ~d);
            word = 7 * i;
        }
        f += a + sines[i] + words[word % 16];
        next = b + (f << shift | f >> (32 - shift));
        a = d;
        d = c;
        c = b;
        b = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

/* At most MD5_MOST bytes. */
static void
md5(const unsigned char *data, size_t len, unsigned char digest[16])
{
    uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    unsigned char padded[MD5_MOST + 128];
    size_t i, whole = (len + 8) / 64 * 64 + 64;

    memcpy(padded, data, len);
    memset(padded + len, 0, whole - len);
    padded[len] = 0x80;
    for (i = 0; i < 8; i++) {
        padded[whole - 8 + i] = (unsigned char) ((uint64_t) len * 8 >> 8 * i);
    }
    for (i = 0; i < whole; i += 64) {
        md5_block(state, padded + i);
    }
    for (i = 0; i < 16; i++) {
        digest[i] = (unsigned char) (state[i / 4] >> i % 4 * 8);
    }
}

/* Under a key of 16 bytes; at most MD5_MOST - 64 bytes. */
static void
hmac_md5(const unsigned char key[16], const unsigned char *data, size_t len, unsigned char mac[16])
{
    unsigned char inner[MD5_MOST], outer[64 + 16];
    size_t i;

    memset(inner, 0x36, 64);
    memset(outer, 0x5c, 64);
    for (i = 0; i < 16; i++) {
        inner[i] ^= key[i];
        outer[i] ^= key[i];
    }
    memcpy(inner + 64, data, len);
    md5(inner, 64 + len, outer + 64);
    md5(outer, sizeof outer, mac);
}

#endif
