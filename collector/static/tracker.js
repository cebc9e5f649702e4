/* headwater.js: page views, errors, web vitals and your own events, in Segment's shape.
 *
 * Plain ES2018 in one file. The collector serves it without comments and line breaks, at most
 * 3 KB gzipped; docs/clients.md says how to use it. Nothing here may throw into the host page.
 *
 * How an event is not lost. Each lies under a key of its own in localStorage before anything is
 * sent, and is taken out only when the collector has answered for it. So
 * - tabs share the queue without a read-modify-write that could lose what another tab wrote;
 * - a page that dies in the middle of a request leaves its events to the next page;
 * - a beacon, whose answer nobody sees, takes nothing out: what it carried stays queued, and the
 *   next ordinary request, of this page or the next one, sends it again. That costs a second copy
 *   of the one or two events that are young when a page is left; the other order would cost
 *   events whenever the beacon dies with the network, a 503 or a closed laptop.
 * A copy is harmless: it has the same messageId, and the collector's tables count an id once.
 */
(() => {
  const doc = document, nav = navigator, script = doc.currentScript;
  const waiting = window.headwater || []; // calls that the page made before this file was there
  if (waiting.version) return; // the snippet stands twice in the page

  const api = {version: '1.0.0'},
    HOUR = 36e5, // ms
    spill = {}; // what storage did not take: it is full
  let store = {}, // what `local` is below, once that may be used
    handed = [], // names of the events that a beacon took or that are in a request
    // Characters of events in one request. Browsers take 64 KiB, in UTF-8 up to 3 bytes each, for
    // everything that may outlive the page.
    room = 2e4,
    options = {}, referrer = doc.referrer, count = 0, tries = 0, errors = 0,
    prefix, url, state, busy, timer, last, observer, shift, from, to;

  const is = (name, value) => options[name] + '' == value,
    safe = work => (...given) => {
      try {
        return work(...given);
      } catch (error) {
        console.warn('headwater:', error);
      }
    },
    listen = (type, work) => addEventListener(type, safe(work)),
    local = safe(() => localStorage)() || {}, // blocked: this page goes on in memory
    random = () => crypto.getRandomValues(new Uint32Array(4)).join('-'), // 128 bits

    // -- Storage. All names begin with the write key: two of them may share an origin.

    read = name => spill[prefix + name] || store[prefix + name],
    erase = name => delete spill[prefix + name] && delete store[prefix + name],
    write = (name, value) => {
      delete spill[prefix + name];
      try {
        store[prefix + name] = value;
      } catch (error) {
        spill[prefix + name] = value;
      }
      return value;
    },
    names = first =>
      [...Object.keys(spill), ...Object.keys(store)]
        .filter(name => name.startsWith(prefix + first))
        .map(name => name.slice(prefix.length))
        .sort(),
    // May events be stored and sent? Looked up each time: another tab may have been told otherwise.
    // Until they may, they wait in the memory of this page.
    granted = () => {
      const refused = is('dnt', 'true') && (nav.globalPrivacyControl || nav.doNotTrack == 1);
      state = refused || !prefix ? 'denied' : local[prefix + 'c'] || options.consent || 'granted';
      const held = store, yes = state == 'granted';
      if (yes != (store == local)) {
        store = yes ? local : {};
        if (yes) for (const name in held) write(name.slice(prefix.length), held[name]);
      }
      return yes;
    },

    // -- The queue. Names sort by time and order: q, ms and three digits, id.

    here = () => ({
      url: location.href,
      path: location.pathname,
      search: location.search,
      title: doc.title,
      referrer
    }),
    drop = events => write('d', +(read('d') || 0) + events),
    put = (type, fields) => {
      granted();
      if (state == 'denied') return;
      // A thousand events is full, and the oldest stay. They say where a visit came from, and a
      // page that goes wild loses its own flood, not what came before it. The next event that fits
      // says how many did not.
      if (names('q')[999]) return drop(1);
      const time = new Date(), messageId = random(), campaign = {};
      let [sessionId, seen] = (read('s') || '').split('.');
      if (!(time - seen < HOUR / 2)) sessionId = random();
      write('s', sessionId + '.' + +time);
      for (const [name, value] of new URLSearchParams(location.search))
        if (name.startsWith('utm_'))
          campaign[name == 'utm_campaign' ? 'name' : name.slice(4)] = value;
      const message = JSON.stringify({
        type,
        messageId,
        timestamp: time,
        anonymousId: read('a') || write('a', random()),
        userId: read('u'),
        ...fields,
        context: {
          library: {name: 'headwater.js', version: api.version},
          page: here(),
          campaign,
          sessionId,
          dropped: read('d'),
          locale: nav.language,
          timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
          screen: {width: screen.width, height: screen.height},
          userAgent: nav.userAgent
        }
      });
      erase('d');
      soon(1e3);
      return write('q' + (time * 1e3 + (count++ % 1e3)) + messageId, message);
    },
    track = (event, properties) => put('track', {event, properties}),
    page = (name, properties) => put('page', {name, properties: {...here(), ...properties}}),

    // -- Sending

    soon = wait => {
      timer = timer || setTimeout(() => {
        timer = 0;
        send();
      }, wait);
    },
    // Milliseconds until it makes sense to send; an hour: until something changes.
    pause = () => {
      if (!granted() || nav.onLine === false) return HOUR;
      const left = read('r') - new Date();
      return left > 0 && left < HOUR ? left : 0; // beyond an hour: the clock was set back
    },
    // The next request: names of its events, and its body.
    take = skipped => {
      const found = [], texts = [];
      let size = 0;
      for (const name of names('q')) {
        const text = !skipped.includes(name) && read(name);
        if (!text) continue; // another tab has just sent it
        size += text.length;
        if (found[0] && size > room) break;
        found.push(name);
        texts.push(text);
      }
      const rest = `"sentAt":"${new Date().toJSON()}","writeKey":"${options.key}"`;
      return found[0] && [found, `{"batch":[${texts}],${rest}}`];
    },
    post = async () => {
      let next;
      while (granted() && (next = take([]))) {
        const [sent, body] = next;
        let status, after;
        handed.push(...sent);
        try {
          // text/plain and no header of our own: the browser asks no leave before (no preflight).
          const answer = await fetch(url, {method: 'POST', body, keepalive: body.length < 21e3});
          status = answer.status;
          after = answer.headers.get('Retry-After');
          await answer.text(); // until it is read, it counts against those 64 KiB
        } catch (error) {}
        handed = []; // whatever was not answered for may go with the next beacon
        if (!status || status == 408 || status == 429 || status > 499) {
          // Retry-After in seconds, and a share of our own so that not all come back at once.
          // Stored, so that neither the next page nor another tab knocks earlier.
          const wait = (after * 1e3 || 0) + 500 * 2 ** Math.min(tries++, 7) * (1 + Math.random());
          write('r', +new Date() + Math.min(wait, HOUR - 1));
          return soon(wait);
        }
        tries = 0;
        if (status == 413 && sent[1]) {
          room = body.length / 2;
          continue;
        }
        // Sending it again would not mend it, and keeping it would keep all that follows.
        if (status > 299) console.warn('headwater:', status, 'dropped', drop(sent.length));
        sent.forEach(erase);
      }
    },
    // One tab at a time, where the browser has locks. What one took out of the storage, another
    // sees a moment later, so a request may still be sent twice; without locks, each would be.
    send = () => {
      const wait = pause(), done = () => (busy = 0);
      if (busy || wait == HOUR) return busy;
      if (wait) return soon(wait);
      busy = (nav.locks ? nav.locks.request(prefix, post).catch(post) : post()).then(done, done);
      return busy;
    },
    // The page goes out of sight, and on phones that is the last it hears. What is on its way or
    // was handed over before is not handed over again; what the browser refuses stays queued.
    hide = () => {
      if (observer) {
        observer.takeRecords().forEach(measure);
        observer = 0;
        // INP leaves out one outlier in fifty interactions.
        const worst = Object.values(slow).sort((a, b) => b - a);
        vitals.INP = worst[(worst.length / 50) | 0];
        track('Web Vitals', vitals);
      }
      let next;
      while (!pause() && (next = take(handed)) && nav.sendBeacon(url, next[1]))
        handed.push(...next[0]);
    },

    // -- What is seen by itself

    view = () => {
      const address = is('hash', 'true') ? location.href : location.href.split('#')[0];
      if (address == last) return;
      referrer = last || referrer;
      last = address;
      errors = 0;
      page();
    },
    later = () => setTimeout(safe(view)), // the page sets its title after the call
    hook = name => {
      const original = history[name];
      history[name] = function (...given) {
        later();
        return original.apply(this, given);
      };
    },
    fail = event => {
      const error = event.error || event.reason || event;
      const {message = error + '', stack} = error;
      // Ten a page: a loop that fails is one finding, not a million.
      if (errors++ < 10)
        track('Error', {message, stack, file: event.filename, line: event.lineno});
    },

    // -- Web vitals as https://web.dev/articles/vitals defines them, in ms

    vitals = {},
    slow = {}, // interaction -> its longest event
    measure = entry => {
      const start = entry.startTime, id = entry.interactionId;
      if (id) slow[id] = Math.max(slow[id] || 0, entry.duration);
      else if (entry.responseStart) vitals.TTFB = entry.responseStart;
      else if (entry.renderTime >= 0) vitals.LCP = start;
      else if (entry.name == 'first-contentful-paint') vitals.FCP = start;
      else if (entry.hadRecentInput === false) {
        // CLS is the worst burst of shifts: less than 1 s apart, 5 s in all.
        if (!(start - to < 1e3 && start - from < 5e3)) {
          from = start;
          shift = 0;
        }
        to = start;
        shift += entry.value;
        vitals.CLS = Math.max(vitals.CLS, shift);
      }
    },
    watch = () => {
      observer = new PerformanceObserver(list => list.getEntries().forEach(measure));
      for (const type of
        ['navigation', 'paint', 'largest-contentful-paint', 'event', 'layout-shift'])
        observer.observe({type, buffered: true, durationThreshold: 16});
      vitals.CLS = window.LayoutShift && 0; // not every browser measures it
    },

    // -- Calls

    start = () => {
      if (!is('pages', 'false')) {
        view();
        hook('pushState');
        hook('replaceState');
        listen('popstate', later);
      // Brought back as it was, by "back": seen again, like any other page.
      listen('pageshow', event => event.persisted && view((last = '')));
      }
      if (!is('errors', 'false')) {
        listen('error', fail);
        listen('unhandledrejection', fail);
      }
      if (!is('vitals', 'false') && !doc.hidden) safe(watch)();
      listen('online', send);
      listen('pagehide', hide);
      listen('visibilitychange', hide); // also when it comes back: it does no harm
      soon(1e3); // what the page before this one left
    },
    calls = {
      init: given => {
        options = {...(script && script.dataset), ...given};
        if (prefix || !options.key) return;
        prefix = `hw:${options.key}:`;
        url = (options.host || new URL('.', script.src).href).replace(/\/*$/, '/v1/b');
        // A page that is only prepared may never be looked at.
        if (doc.prerendering) doc.addEventListener('prerenderingchange', safe(start));
        else start();
      },
      track,
      page,
      identify: (userId = read('u'), traits) =>
        put('identify', {userId, traits}) && userId && write('u', userId),
      group: (groupId, traits) => put('group', {groupId, traits}),
      alias: userId => put('alias', {userId, previousId: read('u') || read('a')}),
      reset: () => ['a', 'u', 's'].forEach(erase),
      consent: given => {
        options.consent = given;
        if (given == 'denied') names('').forEach(erase);
        local[prefix + 'c'] = given;
        return send();
      },
      flush: send
    };
  for (const name in calls) api[name] = safe(calls[name]);
  window.headwater = api;
  api.init();
  waiting.forEach(([name, ...given]) => api[name](...given));
})();
