/* SPDX-License-Identifier: MIT */
/* OpenSSL's libcrypto: digests, ciphers, MACs, KDFs, RSA, EC, X.509, ASN.1. */
#include "workload.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIZE = 200000
};
static unsigned char text[SIZE], coded[SIZE + 64], back[SIZE + 64];
static bench_emit out;

static void hex(const char *name, const unsigned char *bytes, size_t size)
{
    bench_say(out, "%-22s ", name);
    for (size_t i = 0; i < size; i++)
        bench_say(out, "%02x", bytes[i]);
    bench_say(out, "\n");
}

static void digests(void)
{
    static const char *const names[] = {
        "MD5",        "SHA1",     "SHA224",   "SHA256",   "SHA384",
        "SHA512",     "SHA3-256", "SHA3-512", "SHAKE256", "BLAKE2b512",
        "BLAKE2s256", "SM3",      "RIPEMD160"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsigned char value[EVP_MAX_MD_SIZE];
        unsigned size = 0;
        const EVP_MD *md = EVP_get_digestbyname(names[i]);
        if (md && EVP_Digest(text, SIZE, value, &size, md, NULL))
            hex(names[i], value, size);
    }
}

static void ciphers(void)
{
    static const char *const names[] = {
        "AES-128-CBC",  "AES-256-CTR",  "AES-128-ECB",       "AES-192-CFB",
        "AES-256-OFB",  "DES-EDE3-CBC", "CAMELLIA-128-CBC",  "CHACHA20",
        "ARIA-128-CBC", "SM4-CBC",      "CAMELLIA-128-CFB8", "AES-128-CFB8"};
    static const unsigned char key[64] = "0123456789abcdef0123456789abcdef";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const EVP_CIPHER *cipher = EVP_get_cipherbyname(names[i]);
        EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        int a = 0, b = 0;
        unsigned char value[32];
        if (!cipher || !EVP_EncryptInit_ex(c, cipher, NULL, key, key + 3))
            continue;
        EVP_EncryptUpdate(c, coded, &a, text, SIZE - 5);
        EVP_EncryptFinal_ex(c, coded + a, &b);
        int size = a + b;
        EVP_Digest(coded, (size_t)size, value, NULL, EVP_sha256(), NULL);
        hex(names[i], value, 32);
        EVP_DecryptInit_ex(c, cipher, NULL, key, key + 3);
        EVP_DecryptUpdate(c, back, &a, coded, size);
        EVP_DecryptFinal_ex(c, back + a, &b);
        bench_say(out, "  %d %d\n", a + b, memcmp(text, back, SIZE - 5));
        EVP_CIPHER_CTX_free(c);
    }
}

static void sealed(const EVP_CIPHER *cipher, const char *name)
{
    unsigned char tag[16];
    int a = 0;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    EVP_EncryptInit_ex(c, cipher, NULL, text, text + 50);
    EVP_EncryptUpdate(c, NULL, &a, text, 33);
    EVP_EncryptUpdate(c, coded, &a, text, 5000);
    EVP_EncryptFinal_ex(c, coded + a, &a);
    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, tag);
    hex(name, tag, 16);
    EVP_CIPHER_CTX_free(c);
}

static void derived(void)
{
    unsigned char value[64];
    unsigned size;
    HMAC(EVP_sha256(), "key", 3, text, 1000, value, &size);
    hex("HMAC", value, size);
    PKCS5_PBKDF2_HMAC("word", 4, text, 16, 1000, EVP_sha512(), 48, value);
    hex("PBKDF2", value, 48);
    EVP_PBE_scrypt("word", 4, text, 16, 64, 8, 1, 1 << 26, value, 32);
    hex("scrypt", value, 32);
    unsigned char line[128];
    EVP_EncodeBlock(line, text, 60);
    bench_say(out, "base64 %s\n", (char *)line);
}

/* Big numbers whose result everybody can check. */
static void numbers(void)
{
    BN_CTX *c = BN_CTX_new();
    BIGNUM *a = BN_new(), *b = BN_new(), *m = BN_new(), *r = BN_new();
    BN_bin2bn(text, 64, a);
    BN_bin2bn(text + 100, 64, b);
    BN_bin2bn(text + 200, 64, m);
    BN_set_bit(m, 0);
    BN_mod_exp(r, a, b, m, c);
    char *digits = BN_bn2dec(r);
    bench_say(out, "modexp %s\n", digits);
    OPENSSL_free(digits);
    BN_gcd(r, a, b, c);
    BN_set_word(m, 1000003);
    bench_say(out, "gcd %d prime %d\n", BN_num_bits(r),
              BN_check_prime(m, c, NULL));
    BN_free(a), BN_free(b), BN_free(m), BN_free(r), BN_CTX_free(c);
}

static void sign(EVP_PKEY *key, const EVP_MD *md, const char *name)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    size_t size = sizeof coded;
    int made = EVP_DigestSignInit(c, NULL, md, NULL, key) == 1 &&
               EVP_DigestSign(c, coded, &size, text, 500) == 1;
    EVP_MD_CTX_reset(c);
    int good = EVP_DigestVerifyInit(c, NULL, md, NULL, key) == 1 &&
               EVP_DigestVerify(c, coded, size, text, 500) == 1;
    EVP_MD_CTX_reset(c);
    int bad = EVP_DigestVerifyInit(c, NULL, md, NULL, key) == 1 &&
              EVP_DigestVerify(c, coded, size, text + 1, 500) == 1;
    bench_say(out, "%s sign %d verify %d other %d\n", name, made, good, bad);
    EVP_MD_CTX_free(c);
    ERR_clear_error();
}

static void certificate(EVP_PKEY *key)
{
    X509 *x = X509_new(), *again;
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 42);
    ASN1_TIME_set_string(X509_getm_notBefore(x), "20200101000000Z");
    ASN1_TIME_set_string(X509_getm_notAfter(x), "20400101000000Z");
    X509_set_pubkey(x, key);
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               (const unsigned char *)"patas", -1, -1, 0);
    X509_set_issuer_name(x, name);
    X509_sign(x, key, EVP_sha256());
    BIO *memory = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(memory, x);
    again = PEM_read_bio_X509(memory, NULL, NULL, NULL);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *check = X509_STORE_CTX_new();
    X509_STORE_add_cert(store, x);
    X509_STORE_CTX_init(check, store, again, NULL);
    char line[100];
    bench_say(out, "certificate %d %d %s\n", X509_verify_cert(check) == 1,
              X509_cmp(x, again),
              X509_NAME_oneline(X509_get_subject_name(again), line, 100));
    X509_STORE_CTX_free(check);
    X509_STORE_free(store);
    X509_free(again);
    X509_free(x);
    BIO_free(memory);
}

void bench_work(bench_emit emit)
{
    out = emit;
    for (size_t i = 0; i < SIZE; i++)
        text[i] = (unsigned char)(i * i + i / 7);
    digests();
    ciphers();
    sealed(EVP_aes_128_gcm(), "AES-128-GCM");
    sealed(EVP_chacha20_poly1305(), "ChaCha20-Poly1305");
    derived();
    numbers();
    EVP_PKEY *rsa = EVP_RSA_gen(1024);
    EVP_PKEY *ec = EVP_EC_gen("P-256");
    EVP_PKEY *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    sign(rsa, EVP_sha256(), "RSA");
    sign(ec, EVP_sha256(), "ECDSA");
    sign(ed, NULL, "Ed25519");
    certificate(rsa);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(ed);
}
