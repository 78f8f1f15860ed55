'use strict';
const $=id=>document.getElementById(id);
const make=(kind,into,name)=>{const e=document.createElement(kind);if(name)e.className=name;if(into)into.append(e);return e};
const say=(e,text)=>{if(e.textContent!==text)e.textContent=text};
const STATES={A:'active',T:'trying',I:'inactive',D:'disabled',R:'draining',E:'ejected'},RANK='IDERTA';
// A column: its title, and by what it sorts.
const COLUMNS=[['State',r=>-RANK.indexOf(r.f[0])],['Destination',r=>r.u],['Load',r=>r.l],['Calls/s',r=>r.rate],['Latency',r=>r.lat],['Changed',r=>r.ch],['Reason'],['Limits',r=>r.over+r.co]];
const saved=new URLSearchParams(location.hash.slice(1)),only=new URLSearchParams(location.search).get('set');
let sets=new Map(),generation=-1,stale=true,view=[],column=+(saved.get('o')??-1),down=saved.get('d')!=='0',folded=new Set(),allFolded=false,active='',opened=null,paused=false,busy=false,timer=0,now=0,most=0;
$('q').value=saved.get('q')??'';$('st').value=saved.get('st')??'';

async function ask(query){const r=await fetch('?format=json'+query,{cache:'no-store'});if(!r.ok)throw Error('answer '+r.status);return r.json()}
async function parts(rows,take){let from='';do{const d=await ask('&rows='+rows+(only===null?'':'&set='+encodeURIComponent(only))+(from&&'&from='+from));now=d.now;take(d);from=d.next}while(from)}

// What is configured. Rows that are known go on, with their rates.
async function lists(){
 const fresh=new Map(),first=!sets.size;let number=-1;
 stale=false;if(first)sets=fresh;
 await parts('list',d=>{
  if(number<0)number=d.generation;else if(number!==d.generation)stale=true;
  for(const g of d.part){
   let s=fresh.get(g.set);if(!s)fresh.set(g.set,s={id:g.set,key:'set '+g.set,rows:[],refused:sets.get(g.set)?.refused??{}});
   g.rows.forEach((a,n)=>{const p=g.from+n,old=sets.get(g.set)?.rows[p],r=old?.id===a[0]?old:{s:g.set,p,key:g.set+':'+p,id:a[0],f:'',l:0,sel:0,rate:0,lat:0,ch:0,ref:0,fp:0,why:'',t:0,over:0,co:0,cl:0};
    // Where there are no further limits the row ends before them.
    [,r.u,r.d,r.n,r.m,r.pr,r.w,r.mr=0,r.cps=0,r.burst=0,r.cap='',r.cm=0,r.cr=0,r.ccps=0,r.cburst=0]=a;r.k=('set:'+r.s+' '+r.u+' '+r.d+' '+r.n+' '+r.cap).toLowerCase();s.rows[p]=r})}
  if(first)say($('clock'),'loading '+[...fresh.values()].reduce((n,s)=>n+s.rows.length,0))});
 sets=fresh;generation=number}

function present(d,news){
 if(d.generation!==generation)stale=true;
 for(const g of d.part){const s=sets.get(g.set);if(s)s.refused=g.refused;
  g.rows.forEach((a,n)=>{const r=s?.rows[g.from+n];if(r?.id!==a[0]){stale=true;return}
   if(r.t&&a[3]>=r.sel&&d.now>r.t)r.rate=(a[3]-r.sel)*1000/(d.now-r.t);
   const was=r.f;[,r.f,r.l,r.sel,r.fo,r.ref,r.fp,r.lat,r.ch,,r.why,r.over=0,r.cl=0,r.co=0,r.dr=-1]=a;r.t=d.now;if(r.f[2])r.f=r.f[2]==='E'?'E':'R';if(a[9])r.why=(a[9]+' '+r.why).trim();
   if(r.dr>=0)r.why=[r.why,span(r.dr)+' left'].filter(w=>w).join(', ');
   if(was&&was[0]!==r.f[0])news.push(r)})}}

async function refresh(){
 clearTimeout(timer);if(busy||paused||document.hidden)return;
 busy=true;const begun=performance.now(),news=[];
 try{
  if(stale)await lists();
  await parts('now',d=>present(d,news));
  if(opened)await detail();
  if(news.length)say($('news'),(news.length>1?news.length+' changed: ':'')+name(news[0])+' is '+STATES[news[0].f[0]]+(news.length>1?', …':''));
  $('clock').className='dim';say($('clock'),'updated '+new Date(now).toLocaleTimeString())
 }catch(e){stale=true;$('clock').className='bad';say($('clock'),'no answer ('+e.message+'), trying again')}
 busy=false;build();
 // At most a tenth of the time is spent in asking.
 timer=setTimeout(refresh,Math.max(stale?500:2000,9*(performance.now()-begun)))}

const name=r=>r.d?r.d+' '+r.u:r.u;
const up=r=>r.f[0]==='A'||r.f[0]==='T';
const full=r=>r.m>0&&r.l>=r.m;
const count=n=>n.toLocaleString('en');
const rate=n=>n?n.toFixed(n<10?1:0):'0';
const span=s=>s<120?s+' s':s<7200?(s/60|0)+' min':s<172800?(s/3600|0)+' h':(s/86400|0)+' d';
const ago=t=>t?span(Math.max(0,Math.round(now/1000-t))):'–';
// A limit, with what comes beyond it.
const most_of=(n,more)=>count(n)+(more?'+'+count(more):'');
const pace=(cps,burst)=>cps?count(cps)+'/s+'+count(burst):'';
const shared=r=>r.cap+' '+count(r.cl)+(r.cm?' / '+most_of(r.cm,r.cr):'')+(r.ccps?', '+pace(r.ccps,r.cburst):'');
const limits=r=>[pace(r.cps,r.burst),r.cap&&shared(r)].filter(w=>w).join('; ');
const causes=s=>Object.entries(s.refused).filter(([,n])=>n).map(([why,n])=>count(n)+' '+why.replaceAll('_',' ')).join(', ');
const TESTS={up,down:r=>!up(r),full};

// What is shown, in its order; and the totals.
function build(){
 const words=$('q').value.toLowerCase().split(/\s+/).filter(w=>w),st=$('st').value,test=TESTS[st]||st&&(r=>r.f[0]===st);
 const anchor=column<0&&view[Math.max(0,Math.ceil(-$('list').getBoundingClientRect().top/height()))],before=view.indexOf(anchor);
 let wide=false;const all={n:0,up:0,l:0,m:0,free:0,rate:0,ref:0,fp:0},last=[],hits=[];
 most=1;
 for(const s of sets.values()){const ids=new Set;s.shown=[];Object.assign(s,{up:0,l:0,m:0,rate:0,ref:Object.values(s.refused).reduce((n,m)=>n+m,0),free:0,max:1});
  for(const r of s.rows){if(!r?.f)continue;
   if(up(r))s.up++;wide||=r.cps>0||r.cap!=='';
   if(!ids.has(r.id)){ids.add(r.id);s.l+=r.l;s.m+=r.m;s.rate+=r.rate;all.fp+=r.fp;if(!r.m)s.free++;s.max=Math.max(s.max,r.l)}
   if(r.ch&&(last.length<5||r.ch>last[4].ch)){last.push(r);last.sort((a,b)=>b.ch-a.ch);last.length>5&&last.pop()}
   if((!test||test(r))&&words.every(w=>(r.k+' '+r.why.toLowerCase()).includes(w)))s.shown.push(r)}
  hits.push(...(column<0?[]:s.shown));
  all.n+=s.rows.length;all.up+=s.up;for(const k of['l','m','rate','ref','free'])all[k]+=s[k]}
 let shown=hits.length;
 if(column<0){view=[];for(const s of sets.values())if(s.shown.length){shown+=s.shown.length;view.push(s);if(!folded.has(s.id))for(const r of s.shown)view.push(r)}}
 else{const by=COLUMNS[column][1],sign=down?-1:1;view=hits.sort((a,b)=>{const x=by(a),y=by(b);return x<y?-sign:x>y?sign:a.s-b.s||a.p-b.p})}
 totals(all);changes(last);$('grid').classList.toggle('limits',wide);
 say($('hits'),words.length||test?count(shown)+' of '+count(all.n):'');
 $('grid').setAttribute('aria-rowcount',view.length+1);
 $('list').style.height=view.length*height()+'px';
 if(before>=0&&scrollY>0){const after=view.indexOf(anchor);if(after>=0&&after!==before)scrollBy(0,(after-before)*height())}
 [...$('head').children].forEach((c,n)=>{c.setAttribute('aria-sort',n!==column?'none':down?'descending':'ascending');say(c.firstChild,COLUMNS[n][0]+(n!==column?'':down?' ↓':' ↑'))});
 draw()}

function totals(t){
 const all=[['Destinations up',count(t.up)+' / '+count(t.n)],['Calls',count(t.l)+(t.free||!t.m?'':' / '+count(t.m))],['Calls/s',rate(t.rate)],['Refused',count(t.ref)],['Failed probes',count(t.fp)],['Sets',count(sets.size)]];
 all.forEach(([what,value],n)=>{let e=$('totals').children[n];if(!e){e=make('div',$('totals'));make('dt',e,'dim');make('dd',e)}say(e.firstChild,what);say(e.lastChild,value)})}

function changes(last){
 const to=$('last').lastElementChild;
 while(to.children.length<last.length)make('button',make('li',to)).onclick=e=>reveal(e.target.closest('button').key);
 [...to.children].forEach((li,n)=>{const r=last[n],b=li.firstChild;li.hidden=!r;if(r){b.key=r.key;b.className=r.f[0];say(b,ago(r.ch)+' ago: '+name(r)+' (set '+r.s+') '+STATES[r.f[0]]+(r.why?', '+r.why:''))}});
 $('last').hidden=!last.length}

const height=()=>parseInt(getComputedStyle($('list')).getPropertyValue('--h'));
const pool=[];
function draw(){
 const h=height(),top=$('list').getBoundingClientRect().top,first=Math.max(0,Math.floor(-top/h)-3),end=Math.min(view.length,Math.ceil((innerHeight-top)/h)+3);
 let at='';
 for(let n=0;n<Math.max(end-first,pool.length);n++){
  let e=pool[n];if(first+n>=end){if(e)e.hidden=true;continue}
  if(!e){e=pool[n]=make('div',$('list'),'row');e.setAttribute('role','row');for(let c=0;c<COLUMNS.length;c++){const cell=make('span',e,c===2?'load':'');cell.setAttribute('role','gridcell');if(c===2){make('b',make('i',cell));make('span',cell)}}}
  fill(e,view[first+n],first+n);e.style.transform='translateY('+(first+n)*h+'px)';if(view[first+n].key===active)at=e.id}
 if(at)$('grid').setAttribute('aria-activedescendant',at);else $('grid').removeAttribute('aria-activedescendant')}

function fill(e,r,n){
 const c=e.children,s=r.rows;
 e.hidden=false;e.id='row'+n;e.key=r.key;e.className='row'+(s?' set':'')+(r.key===active?' on':'');
 e.setAttribute('aria-rowindex',n+2);e.setAttribute('aria-level',s||column>=0?1:2);e.setAttribute('aria-selected',r.key===active);
 if(s)e.setAttribute('aria-expanded',!folded.has(r.id));else e.removeAttribute('aria-expanded');
 const limit=s?(r.free?0:r.m):r.m,part=r.l/(limit||(s?Math.max(r.l,1):sets.get(r.s).max));
 c[0].className=s?'':r.f[0];
 [s?(folded.has(r.id)?'▸ set':'▾ set'):STATES[r.f[0]],s?r.id+': '+r.up+' of '+r.rows.length+' up':name(r)+(column<0?'':' (set '+r.s+')'),null,rate(r.rate)+'/s',s||!r.lat?'–':r.lat+' ms',s?'':ago(r.ch),s?(r.ref?'refused '+causes(r):''):r.why,s?'':limits(r)].forEach((text,n)=>text!==null&&say(c[n],text));
 c[1].title=s?'':r.u+(r.n?' of '+r.n:'');c[6].title=s?causes(r):r.why;c[7].title=s?'':limits(r)+(r.over+r.co?'; reached '+count(r.over+r.co)+' times':'');
 c[2].className='load '+(!limit?'free':part>=1?'full':part>=.8?'mid':'');
 c[2].firstChild.firstChild.style.width=Math.min(100,part*100)+'%';
 say(c[2].lastChild,count(r.l)+(limit?' / '+most_of(limit,s?0:r.mr):''))}

function move(n){if(!view.length)return;n=Math.max(0,Math.min(view.length-1,n));active=view[n].key;
 const y=$('list').getBoundingClientRect().top+n*height(),low=$('head').offsetHeight,high=innerHeight-height()-(opened?$('more').offsetHeight:0);
 if(y<low)scrollBy(0,y-low);else if(y>high)scrollBy(0,y-high);draw()}
const where=()=>view.findIndex(r=>r.key===active);
function reveal(key){
 const r=sets.get(+key.slice(0,key.lastIndexOf(':')))?.rows[key.slice(key.lastIndexOf(':')+1)];if(!r)return;
 if(!view.includes(r)){$('q').value=$('st').value='';folded.delete(r.s);keep()}
 move(view.indexOf(r));$('grid').focus()}
function act(r){if(!r)return;active=r.key;if(r.rows){folded.has(r.id)?folded.delete(r.id):folded.add(r.id);build()}else{opened=opened===r.key?null:r.key;$('more').hidden=!opened;if(opened)detail().catch(()=>{});draw()}}
async function detail(){
 const flat=v=>v&&typeof v==='object'?Object.entries(v).map(([k,v])=>k+' '+v).join(', '):String(v);
 const key=opened,d=await ask('&count=1&from='+key),g=d.part[0],to=$('more').lastElementChild;
 if(opened!==key)return;if(!g||g.set+':'+g.from!==key){shut();return}
 Object.entries({set:g.set,...g.rows[0]}).forEach(([k,v],n)=>{let e=to.children[n];if(!e){e=make('div',to);make('dt',e,'dim');make('dd',e)}
  say(e.firstChild,k.replaceAll('_',' '));say(e.lastChild,['changed','probed','dropped','next_probe','name_lost'].includes(k)?(v?new Date(v*1000).toLocaleString():'never'):flat(v)||'–')})}
function shut(){opened=null;$('more').hidden=true;$('grid').focus({preventScroll:true})}
function keep(){history.replaceState(null,'','#'+new URLSearchParams({q:$('q').value,st:$('st').value,o:column,d:+down}));build()}

COLUMNS.forEach(([title,by],n)=>{const c=make('span',$('head'));c.setAttribute('role','columnheader');const b=make(by?'button':'b',c);b.textContent=title;
 // First one way, then the other, then by set again.
 if(by)b.onclick=()=>{const first=n!==1;if(column!==n)[column,down]=[n,first];else if(down===first)down=!first;else column=-1;keep()}});
$('q').oninput=$('st').onchange=keep;
$('fold').onclick=e=>{allFolded=!allFolded;folded=new Set(allFolded?sets.keys():[]);e.target.setAttribute('aria-pressed',allFolded);build()};
$('pause').onclick=e=>{paused=!paused;e.target.setAttribute('aria-pressed',paused);say(e.target,paused?'Go on':'Pause');refresh()};
$('close').onclick=shut;
$('list').onclick=e=>{const key=e.target.closest('.row')?.key;act(view.find(r=>r.key===key))};
$('grid').onkeydown=e=>{
 if(e.target!==$('grid'))return;
 const n=where(),page=Math.floor(innerHeight/height())-2,r=view[n],to={ArrowDown:n+1,ArrowUp:n-1,PageDown:n+page,PageUp:n-page,Home:0,End:view.length-1}[e.key];
 if(to!==undefined)move(to);
 else if(e.key==='Enter'||e.key===' ')act(r);
 else if(e.key==='ArrowLeft'&&r?.rows&&!folded.has(r.id)||e.key==='ArrowRight'&&r?.rows&&folded.has(r.id))act(r);
 else return;
 e.preventDefault()};
document.onkeydown=e=>{if(e.key==='Escape'&&opened)shut();else if(e.key==='/'&&!/INPUT|SELECT/.test(e.target.tagName)){e.preventDefault();$('q').focus()}};
let frame=0;onscroll=onresize=()=>{frame||=requestAnimationFrame(()=>{frame=0;$('list').style.height=view.length*height()+'px';draw()})};
document.onvisibilitychange=refresh;
refresh();
