// Mails of the SpamAssassin corpus as rows of a table: subject, the first words of the body, and whether anybody wanted them.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Groups of the corpus, and what they are. */
const groups = {
  'easy-ham-1': 'ham',
  'easy-ham-2': 'ham',
  'hard-ham-1': 'ham',
  'spam-1': 'spam',
  'spam-2': 'spam',
};

/** More than 128 tokens ever take. */
const bodyLetters = 1500;

function split(text) {
  const at = text.search(/\r?\n\r?\n/);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at).trimStart()];
}

function headerOf(head, name) {
  const found = new RegExp(`^${name}:[ \\t]*(.*(?:\\r?\\n[ \\t].*)*)`, 'im').exec(head);
  return (found?.[1] ?? '').replace(/\r?\n[ \t]+/g, ' ').trim();
}

const latin = new TextDecoder('latin1');

/** `=20` as in quoted-printable; a `=` at the end of a line joins it with the next. */
const unquote = (text) =>
  text.replace(/=\r?\n/g, '').replace(/=([0-9a-f]{2})/gi, (_, digits) => latin.decode(Buffer.from(digits, 'hex')));

function decodeBody(head, body) {
  const encoding = headerOf(head, 'Content-Transfer-Encoding').toLowerCase();
  if (encoding === 'base64') return latin.decode(Buffer.from(body, 'base64'));
  return encoding === 'quoted-printable' ? unquote(body) : body;
}

/** `=?iso-8859-1?q?caf=E9?=`, as subjects have it. */
const decodeWords = (text) =>
  text.replace(/=\?[\w-]+\?([bq])\?([^?]*)\?=/gi, (_, kind, word) =>
    kind.toLowerCase() === 'b' ? latin.decode(Buffer.from(word, 'base64')) : unquote(word.replaceAll('_', ' ')),
  );

/** The first part with text in it. */
function textOf(head, body) {
  const type = headerOf(head, 'Content-Type');
  const boundary = /multipart\/.*boundary="?([^";\r\n]+)"?/is.exec(type)?.[1];
  if (boundary !== undefined) {
    for (const part of body.split(`--${boundary}`).slice(1)) {
      const text = textOf(...split(part.trimStart()));
      if (text !== '') return text;
    }
    return '';
  }
  if (type !== '' && !/^text\//i.test(type)) return '';
  const text = decodeBody(head, body);
  return /^text\/html/i.test(type) || /<html|<body|<table/i.test(text) ? withoutTags(text) : text;
}

const entities = { amp: '&', lt: '<', gt: '>', quot: '"', nbsp: ' ' };

const withoutTags = (html) =>
  html
    .replace(/<(style|script|title)\b.*?<\/\1>/gis, ' ')
    .replace(/<!--.*?-->/gs, ' ')
    .replace(/<[^>]*>/g, ' ')
    .replace(/&(\w+);/g, (whole, name) => entities[name.toLowerCase()] ?? whole);

const tidy = (text) => text.replace(/\s+/g, ' ').trim();

/** Rules of dashes and stars, and what stands behind the host of a link, would take most of 128 tokens and say little. */
const condense = (text) =>
  text.replace(/([^\p{L}\p{N}\s])(?:\s*\1){2,}/gu, '$1').replace(/(https?:\/\/[^\s/?#>"]+)[^\s>"]*/gi, '$1');

/** @returns one row per different mail, in an order that says nothing about them */
export function readMails(folder) {
  const rows = new Map();
  for (const [group, label] of Object.entries(groups)) {
    for (const name of readdirSync(join(folder, group)).filter((file) => file.endsWith('.json'))) {
      const { text } = JSON.parse(readFileSync(join(folder, group, name), 'utf8'));
      const [head, rest] = split(text);
      const subject = tidy(decodeWords(headerOf(head, 'Subject')));
      const body = tidy(textOf(head, rest));
      const key = createHash('sha256')
        .update(`${subject}\n${body.slice(0, bodyLetters)}`)
        .digest('hex');
      const row = { subject: condense(subject), body: condense(body).slice(0, bodyLetters), label };
      if (subject !== '' || body !== '') rows.set(key, row);
    }
  }
  const texts = new Set();
  const isNew = ({ subject, body }) => texts.size < texts.add(`${subject}\n${body}`).size;
  const ordered = [...rows].sort(([a], [b]) => (a < b ? -1 : 1));
  return ordered.map(([, row]) => row).filter(isNew);
}
