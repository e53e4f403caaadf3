"""The systems as text, in the format that `topologies` describes. Data only."""

from __future__ import annotations

TEXT = """
# shop
edge: front
service: basket orders pricing stock pay
worker: mailer
store: stockdb orderdb
cache: pricecache
queue: mailq
gateway: paygate
> placing an order
front POST /orders
  orders place
    stock reserve
      stockdb update
    pay charge
      paygate authorize
    orderdb insert
> opening the basket
front GET /basket
  basket load
    pricing quote
      pricecache get
      orderdb read
    stock count
      stockdb read
> asking for a receipt
front POST /receipts
  orders receipt
    orderdb read
    mailq deliver
      mailer send

# tickets
edge: site
service: seats booking venue wallet
store: seatdb bookdb
cache: plancache
gateway: bank
> choosing a seat
site GET /seats
  venue plan
    plancache get
    seats free
      seatdb read
> booking a ticket
site POST /bookings
  booking create
    seats hold
      seatdb update
    wallet pay
      bank debit
    bookdb insert
> listing bookings
site GET /bookings
  booking list
    bookdb read
    venue names
      plancache get
      seatdb read

# rides
edge: app
service: trips match fares drivers maps
worker: notifier
store: tripdb driverdb
queue: pushq
gateway: geo
> requesting a ride
app POST /rides
  trips request
    match find
      drivers nearby
        driverdb read
      maps route
        geo distance
    fares estimate
      maps route
        geo distance
    tripdb insert
> following a ride
app GET /rides
  trips status
    tripdb read
    drivers position
      driverdb read
> ending a ride
app POST /rides/end
  trips finish
    fares total
      tripdb update
    pushq deliver
      notifier push

# clinic
edge: portal
service: visits patients labs
worker: reporter
store: chartdb
queue: labq
> booking a visit
portal POST /visits
  visits book
    patients lookup
      chartdb read
    chartdb insert
> reading lab results
portal GET /results
  labs results
    patients lookup
      chartdb read
    labq deliver
      reporter render
        chartdb read

# media
edge: gate
service: feed profiles posts ranking comments upload
worker: encoder indexer
store: postdb graphdb blob
cache: feedcache usercache
queue: jobq
> opening the feed
gate GET /feed
  feed page
    feedcache get
    ranking score
      profiles interests
        usercache get
        graphdb read
      posts batch
        postdb read
> writing a comment
gate POST /comments
  comments add
    profiles check
      usercache get
      graphdb read
    postdb insert
> uploading a video
gate POST /videos
  upload store
    blob write
    jobq deliver
      encoder encode
        blob read
> searching posts
gate GET /search
  posts find
    indexer query
      postdb read

# bank
edge: desk
service: accounts transfers limits ledgers fraud
worker: clearing
store: bookdb riskdb
queue: settleq
gateway: swift
> sending a transfer
desk POST /transfers
  transfers send
    limits check
      accounts balance
        bookdb read
    fraud score
      riskdb read
    ledgers post
      bookdb insert
    swift message
> viewing the balance
desk GET /accounts
  accounts overview
    bookdb read
    ledgers recent
      bookdb read
> settling payments
desk POST /settlements
  ledgers settle
    settleq deliver
      clearing clear
        bookdb update

# delivery
edge: door
service: parcels routes hubs labels customs
worker: planner
store: parceldb hubdb
cache: routecache
queue: planq
gateway: carrier
> tracking a parcel
door GET /parcels
  parcels track
    parceldb read
    hubs location
      hubdb read
> sending a parcel
door POST /parcels
  parcels accept
    labels print
      routes find
        routecache get
        hubdb read
    customs declare
      carrier declare
    parceldb insert
> planning tomorrow's tours
door POST /tours
  routes tour
    planq deliver
      planner solve
        hubdb read

# campus
edge: lobby
service: courses grades people
store: coursedb
cache: pagecache
> opening the course list
lobby GET /courses
  courses list
    pagecache get
    coursedb read
> reading grades
lobby GET /grades
  grades sheet
    people lookup
      coursedb read
    courses title
      pagecache get
      coursedb read
> handing in work
lobby POST /work
  courses submit
    people lookup
      coursedb read
    coursedb insert

# hotel
edge: web
service: rooms rates guests stays offers
worker: cleaner
store: roomdb guestdb
cache: ratecache
queue: taskq
gateway: channel
> finding a room
web GET /rooms
  offers search
    rooms vacant
      roomdb read
    rates nightly
      ratecache get
      roomdb read
> reserving a room
web POST /stays
  stays reserve
    guests find
      guestdb read
    rooms block
      roomdb update
    channel confirm
> checking out
web POST /checkout
  stays close
    rates total
      ratecache get
      roomdb read
    taskq deliver
      cleaner assign
        roomdb update

# energy (held out)
edge: panel
service: meters tariffs billing forecast homes outages
worker: collector rater
store: readdb billdb
cache: tariffcache
queue: readq
gateway: weather
> seeing the consumption
panel GET /usage
  homes usage
    meters series
      readdb read
    tariffs current
      tariffcache get
      billdb read
> getting the bill
panel POST /bills
  billing issue
    meters total
      readq deliver
        collector collect
          readdb read
    rater rate
      tariffs history
        billdb read
    billdb insert
> seeing the forecast
panel GET /forecast
  forecast week
    weather outlook
    meters series
      readdb read
> reporting an outage
panel POST /outages
  outages report
    homes address
      readdb read

# newsroom (held out)
edge: paper
service: articles authors layout ads
worker: printer
store: textdb
queue: printq
> reading an article
paper GET /articles
  articles show
    authors byline
      textdb read
    ads pick
      textdb read
> publishing an article
paper POST /articles
  layout compose
    articles draft
      textdb read
    printq deliver
      printer set
        textdb update

# airport (held out)
edge: hall
service: flights gates bags crews checkin seating
worker: sorter
store: flightdb bagdb
cache: boardcache
queue: bagq
gateway: tower
> looking at departures
hall GET /departures
  flights board
    boardcache get
    gates assign
      flightdb read
    tower slots
> checking in
hall POST /checkin
  checkin passenger
    seating pick
      flights layout
        flightdb read
    bags tag
      bagdb insert
> dropping a bag
hall POST /bags
  bags drop
    bagdb insert
    bagq deliver
      sorter route
        bagdb update
> changing the crew
hall POST /crews
  crews swap
    flights layout
      flightdb read
"""
