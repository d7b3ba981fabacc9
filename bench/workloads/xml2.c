/* SPDX-License-Identifier: MIT */
/* libxml2: parse, XPath, schemas, Relax NG, HTML, SAX, reader, C14N. */
#include "workload.h"

#include <libxml/HTMLparser.h>
#include <libxml/HTMLtree.h>
#include <libxml/c14n.h>
#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <libxml/xmlreader.h>
#include <libxml/xmlregexp.h>
#include <libxml/xmlschemas.h>
#include <libxml/xmlwriter.h>
#include <libxml/xpath.h>
#include <stdlib.h>
#include <string.h>

static bench_emit out;

static void quiet(void *context, const char *format, ...)
{
    (void)context;
    bench_say(out, "message %s\n", format);
}

static char *build(void)
{
    xmlBufferPtr buffer = xmlBufferCreate();
    xmlTextWriterPtr writer = xmlNewTextWriterMemory(buffer, 0);
    xmlTextWriterSetIndent(writer, 1);
    xmlTextWriterStartDocument(writer, NULL, "UTF-8", NULL);
    xmlTextWriterStartElement(writer, BAD_CAST "shop");
    for (int i = 0; i < 2000; i++) {
        xmlTextWriterStartElement(writer, BAD_CAST "item");
        xmlTextWriterWriteFormatAttribute(writer, BAD_CAST "id", "%d", i);
        xmlTextWriterWriteFormatElement(writer, BAD_CAST "price", "%d.%02d",
                                        i * 7 % 100, i % 100);
        xmlTextWriterWriteElement(writer, BAD_CAST "name",
                                  BAD_CAST "a <b> & \xc3\xa4");
        xmlTextWriterEndElement(writer);
    }
    xmlTextWriterEndDocument(writer);
    xmlFreeTextWriter(writer);
    char *text = strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    return text;
}

static void xpath(xmlDocPtr doc, const char *expression)
{
    xmlXPathContextPtr context = xmlXPathNewContext(doc);
    xmlXPathObjectPtr object =
        xmlXPathEvalExpression(BAD_CAST expression, context);
    xmlChar *text = object ? xmlXPathCastToString(object) : NULL;
    bench_say(out, "%s: %.200s (%d)\n", expression,
              text ? (const char *)text : "error",
              object && object->nodesetval ? object->nodesetval->nodeNr : -1);
    xmlFree(text);
    xmlXPathFreeObject(object);
    xmlXPathFreeContext(context);
}

static const char schema[] =
    "<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'>"
    "<xs:element name='shop'><xs:complexType><xs:sequence>"
    "<xs:element name='item' maxOccurs='unbounded'><xs:complexType>"
    "<xs:sequence><xs:element name='price' type='xs:decimal'/>"
    "<xs:element name='name' type='xs:string'/></xs:sequence>"
    "<xs:attribute name='id' type='xs:int'/></xs:complexType></xs:element>"
    "</xs:sequence></xs:complexType></xs:element></xs:schema>";
static const char relax[] =
    "<element name='shop' xmlns='http://relaxng.org/ns/structure/1.0'>"
    "<oneOrMore><element name='item'><attribute name='id'/>"
    "<element name='price'><text/></element><element name='name'><text/>"
    "</element></element></oneOrMore></element>";

static void validate(xmlDocPtr doc)
{
    xmlSchemaParserCtxtPtr parser =
        xmlSchemaNewMemParserCtxt(schema, sizeof schema - 1);
    xmlSchemaPtr parsed = xmlSchemaParse(parser);
    xmlSchemaValidCtxtPtr checker = xmlSchemaNewValidCtxt(parsed);
    bench_say(out, "schema %d\n", xmlSchemaValidateDoc(checker, doc));
    xmlSchemaFreeValidCtxt(checker);
    xmlSchemaFree(parsed);
    xmlSchemaFreeParserCtxt(parser);
    xmlRelaxNGParserCtxtPtr rng =
        xmlRelaxNGNewMemParserCtxt(relax, sizeof relax - 1);
    xmlRelaxNGPtr grammar = xmlRelaxNGParse(rng);
    xmlRelaxNGValidCtxtPtr checks = xmlRelaxNGNewValidCtxt(grammar);
    bench_say(out, "relax %d\n", xmlRelaxNGValidateDoc(checks, doc));
    xmlRelaxNGFreeValidCtxt(checks);
    xmlRelaxNGFree(grammar);
    xmlRelaxNGFreeParserCtxt(rng);
}

static void serialize(xmlDocPtr doc)
{
    xmlChar *text = NULL;
    int size = 0;
    xmlDocDumpFormatMemoryEnc(doc, &text, &size, "ISO-8859-1", 1);
    if (size > 0)
        out(text, (size_t)size);
    xmlFree(text);
    text = NULL;
    size = xmlC14NDocDumpMemory(doc, NULL, XML_C14N_1_1, NULL, 1, &text);
    bench_say(out, "c14n %d\n", size);
    xmlFree(text);
}

static void html(void)
{
    static const char page[] =
        "<html><body><p>one<p>two &eacute;<table><tr><td>x<td>y</table>"
        "<img src=a.png><script>1<2</script>";
    htmlDocPtr doc = htmlReadMemory(page, sizeof page - 1, "page.html", NULL,
                                    HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING);
    xmlChar *text = NULL;
    int size = 0;
    htmlDocDumpMemory(doc, &text, &size);
    out(text, (size_t)size);
    xmlFree(text);
    xmlFreeDoc(doc);
}

static void read_on(const char *text, size_t size)
{
    xmlTextReaderPtr reader =
        xmlReaderForMemory(text, (int)size, NULL, NULL, 0);
    int nodes = 0, names = 0;
    while (xmlTextReaderRead(reader) == 1) {
        nodes++;
        names += xmlTextReaderConstName(reader)[0] == 'i';
    }
    bench_say(out, "reader %d %d\n", nodes, names);
    xmlFreeTextReader(reader);
    xmlRegexpPtr regexp = xmlRegexpCompile(BAD_CAST "[a-c]{2,4}\\d+");
    bench_say(out, "regexp %d %d\n", xmlRegexpExec(regexp, BAD_CAST "abc12"),
              xmlRegexpExec(regexp, BAD_CAST "zz"));
    xmlRegFreeRegexp(regexp);
}

void bench_work(bench_emit emit)
{
    out = emit;
    xmlSetGenericErrorFunc(NULL, quiet);
    char *text = build();
    size_t size = strlen(text);
    xmlDocPtr doc = xmlReadMemory(text, (int)size, "shop.xml", NULL, 0);
    xpath(doc, "count(//item[price > 50])");
    xpath(doc, "sum(/shop/item/price)");
    xpath(doc, "//item[@id='77']/name");
    xpath(doc, "string-length(translate(//item[3]/name,'ab','ba'))");
    xpath(doc, "//item[position() mod 100 = 1]/@id");
    xpath(doc, "//item[");
    validate(doc);
    serialize(doc);
    html();
    read_on(text, size);
    xmlDocPtr bad = xmlReadMemory("<a><b></a>", 10, "bad.xml", NULL,
                                  XML_PARSE_RECOVER | XML_PARSE_NOERROR);
    bench_say(emit, "bad %d\n", bad != NULL);
    xmlFreeDoc(bad);
    xmlFreeDoc(doc);
    free(text);
}
